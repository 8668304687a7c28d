# What is planned for which nodes. No Proxmox is asked.

mock_provider "proxmox" {}

variables {
  endpoint = "https://pve-1:8006/"
  site = {
    network = "10.0.20.0/24"
    gateway = "10.0.20.1"
    vip     = "10.0.20.5"
    nodes = {
      mgmt-01 = { address = "10.0.20.11", host = "pve-1" }
      mgmt-02 = { address = "10.0.20.12", host = "pve-2" }
      mgmt-03 = { address = "10.0.20.13", host = "pve-3", witness = true }
    }
    ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 test"]
  }
  image_url    = "https://cloud.debian.org/debian-12-genericcloud-amd64.qcow2"
  image_sha512 = "ee26b0dd4af7e749aa1a8ee3c10ae9923f618980772e473f8819a5d4940e0db27ac185f8a0e1d5f84f88bc887fd67b143732c304cc5fa9ad8e6f57f50028a8ff"

  # Said although they are the defaults: `terraform test` reads terraform.tfvars too.
  vlan            = 20
  bridge          = "vmbr0"
  datastore       = "local-lvm"
  files_datastore = "local"
  size            = {}
}

run "each_node_on_its_own_proxmox_node_in_the_vlan" {
  command = plan

  assert {
    condition     = { for name, vm in proxmox_virtual_environment_vm.node : name => vm.node_name } == { mgmt-01 = "pve-1", mgmt-02 = "pve-2", mgmt-03 = "pve-3" }
    error_message = jsonencode({ for name, vm in proxmox_virtual_environment_vm.node : name => vm.node_name })
  }
  assert {
    condition     = alltrue([for vm in proxmox_virtual_environment_vm.node : vm.network_device[0].vlan_id == 20 && !vm.network_device[0].firewall])
    error_message = "VLAN 20, and nothing that filters the floating address."
  }
  assert {
    condition = alltrue([
      for name, vm in proxmox_virtual_environment_vm.node :
      vm.initialization[0].ip_config[0].ipv4[0].address == "${var.site.nodes[name].address}/24" && vm.initialization[0].ip_config[0].ipv4[0].gateway == "10.0.20.1"
    ])
    error_message = "Each node has the address that the inventory says."
  }
}

run "the_data_disk_is_found_by_its_serial_and_the_witness_has_the_small_one" {
  command = plan

  assert {
    condition     = { for name, vm in proxmox_virtual_environment_vm.node : name => vm.disk[1].size } == { mgmt-01 = 50, mgmt-02 = 50, mgmt-03 = 10 }
    error_message = jsonencode({ for name, vm in proxmox_virtual_environment_vm.node : name => vm.disk[*].size })
  }
  assert {
    condition = alltrue([
      for vm in proxmox_virtual_environment_vm.node :
      vm.disk[1].interface == "virtio1" && vm.disk[1].serial == module.site.data_serial && vm.disk[1].cache == "none"
    ])
    error_message = "cloud-init looks for /dev/disk/by-id/virtio-SERIAL."
  }
  assert {
    condition     = alltrue([for name, file in proxmox_virtual_environment_file.user_data : file.node_name == var.site.nodes[name].host])
    error_message = "A snippet is read on the Proxmox node that runs the machine."
  }
}

run "a_network_without_vlan" {
  command = plan
  variables {
    vlan   = null
    bridge = "vmbr20"
  }

  assert {
    condition     = alltrue([for vm in proxmox_virtual_environment_vm.node : vm.network_device[0].bridge == "vmbr20"])
    error_message = "The bridge is the one that was asked for."
  }
}

run "a_typing_error_is_refused" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24", gateway = "10.0.20.1", vip = "10.0.20.5", survivors = true
      nodes    = { a = { address = "10.0.20.11", host = "pve-1" }, b = { address = "10.0.20.12", host = "pve-2" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "a_short_checksum_is_refused" {
  command = plan
  variables {
    image_sha512 = "abc"
  }
  expect_failures = [var.image_sha512]
}

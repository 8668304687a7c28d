# What nodes are told at their first boot, and which mistakes are refused. No provider is needed.

variables {
  site = {
    network    = "10.0.20.0/24"
    gateway    = "10.0.20.1"
    vip        = "10.0.20.5"
    dhcp_range = { first = "10.0.20.110", last = "10.0.20.200" }
    nodes = {
      mgmt-01 = { address = "10.0.20.11", host = "hv-1" }
      mgmt-02 = { address = "10.0.20.12", host = "hv-2" }
      mgmt-03 = { address = "10.0.20.13", host = "hv-3", witness = true }
    }
    ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 test"]
  }
}

run "a_node_is_told_its_own_address_and_nothing_of_the_vip" {
  command = plan

  assert {
    condition     = yamldecode(output.network_config["mgmt-02"]).ethernets.machines.addresses == ["10.0.20.12/24"]
    error_message = output.network_config["mgmt-02"]
  }
  assert {
    condition     = yamldecode(output.network_config["mgmt-02"]).ethernets.machines.nameservers == { addresses = ["10.0.20.1"], search = ["internal"] }
    error_message = output.network_config["mgmt-02"]
  }
  assert {
    condition = alltrue([
      for text in concat(values(output.network_config), values(output.user_data), values(output.meta_data)) : !strcontains(text, "10.0.20.5")
    ])
    error_message = "A host that is given the VIP as its own keeps it for ever."
  }
}

run "the_first_boot_makes_a_user_and_a_data_disk" {
  command = plan

  assert {
    condition     = startswith(output.user_data["mgmt-01"], "#cloud-config\n")
    error_message = "cloud-init takes it for something else: ${output.user_data["mgmt-01"]}"
  }
  assert {
    condition     = yamldecode(output.user_data["mgmt-01"]).users[0].ssh_authorized_keys == ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 test"]
    error_message = output.user_data["mgmt-01"]
  }
  assert {
    condition     = contains(yamldecode(output.user_data["mgmt-01"]).packages, "python3")
    error_message = "Ansible needs it."
  }
  assert {
    condition     = endswith(yamldecode(output.user_data["mgmt-01"]).fs_setup[0].device, output.data_serial)
    error_message = "The file system is made on the disk with that serial."
  }
  assert {
    condition     = yamldecode(output.user_data["mgmt-01"]).mounts == [["LABEL=raftboot", "/var/lib/raftboot", "ext4", "defaults,noatime", "0", "2"]]
    error_message = "With nofail a node would start without its data, as a cluster of its own."
  }
  assert {
    condition     = output.meta_data["mgmt-01"] != output.meta_data["mgmt-02"]
    error_message = "Each node is an instance of its own."
  }
}

run "the_inventory_names_the_cluster_and_its_nodes" {
  command = plan

  assert {
    condition     = { for name, host in yamldecode(output.inventory).raftboot.hosts : name => host.ansible_host } == { mgmt-01 = "10.0.20.11", mgmt-02 = "10.0.20.12", mgmt-03 = "10.0.20.13" }
    error_message = output.inventory
  }
  assert {
    condition     = [for name, host in yamldecode(output.inventory).raftboot.hosts : name if try(host.raftboot_witness, false)] == ["mgmt-03"]
    error_message = output.inventory
  }
  assert {
    condition     = yamldecode(output.inventory).raftboot.vars == { ansible_user = "ops", raftboot_vip = "10.0.20.5" }
    error_message = output.inventory
  }
}

run "two_nodes_may_choose_to_survive_alone" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24", gateway = "10.0.20.1", vip = "10.0.20.5", survivor = true
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }

  assert {
    condition     = keys(output.nodes) == ["a", "b"] && yamldecode(output.inventory).raftboot.vars.raftboot_survivor
    error_message = output.inventory
  }
}

run "nodes_that_share_a_hypervisor_get_slower_timing" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24", gateway = "10.0.20.1", vip = "10.0.20.5", survivor = true, one_host = true
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-1" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }

  assert {
    condition     = yamldecode(output.inventory).raftboot.vars.raftboot_timing == "vm"
    error_message = output.inventory
  }
}

# What is planned for which nodes. No hypervisor is asked.

mock_provider "libvirt" {
  alias = "first"
}
mock_provider "libvirt" {
  alias = "second"
}
mock_provider "libvirt" {
  alias = "third"
}

variables {
  site = {
    network = "10.0.20.0/24"
    gateway = "10.0.20.1"
    vip     = "10.0.20.5"
    nodes = {
      mgmt-01 = { address = "10.0.20.11", host = "hv-1" }
      mgmt-02 = { address = "10.0.20.12", host = "hv-2" }
      mgmt-03 = { address = "10.0.20.13", host = "hv-3", witness = true }
    }
    ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 test"]
  }
  hypervisors = {
    hv-1 = "qemu+ssh://root@hv-1/system"
    hv-2 = "qemu+ssh://root@hv-2/system"
    hv-3 = "qemu+ssh://root@hv-3/system"
  }
  # Said although they are the defaults: `terraform test` reads terraform.tfvars too.
  bridge       = "br20"
  pool         = "default"
  size         = {}
  image        = "tests/image"
  image_sha512 = "ee26b0dd4af7e749aa1a8ee3c10ae9923f618980772e473f8819a5d4940e0db27ac185f8a0e1d5f84f88bc887fd67b143732c304cc5fa9ad8e6f57f50028a8ff"
}

run "three_nodes_on_three_hypervisors_and_the_witness_has_the_small_disk" {
  command = plan

  assert {
    condition = { for name, node in output.nodes : name => [node.host, node.data_gib] } == {
      mgmt-01 = ["hv-1", 50]
      mgmt-02 = ["hv-2", 50]
      mgmt-03 = ["hv-3", 10]
    }
    error_message = jsonencode(output.nodes)
  }
  assert {
    condition     = alltrue([for node in output.nodes : node.disks == ["raftboot-data"] && node.bridge == "br20"])
    error_message = jsonencode(output.nodes)
  }
}

run "of_two_nodes_there_is_no_third" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24", gateway = "10.0.20.1", vip = "10.0.20.5", survivor = true
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }

  assert {
    condition     = keys(output.nodes) == ["a", "b"]
    error_message = jsonencode(output.nodes)
  }
}

run "a_host_that_nobody_knows_is_refused" {
  command = plan
  variables {
    hypervisors = { hv-1 = "qemu:///system", hv-2 = "qemu:///system" }
  }
  expect_failures = [var.hypervisors]
}

run "a_typing_error_is_refused" {
  command = plan
  variables {
    site = {
      network = "10.0.20.0/24", gateway = "10.0.20.1", vip = "10.0.20.5"
      nodes = {
        a = { address = "10.0.20.11", host = "hv-1" }
        b = { address = "10.0.20.12", host = "hv-2" }
        c = { address = "10.0.20.13", host = "hv-3", witnes = true }
      }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "another_image_than_the_checksum_means_is_refused" {
  command = plan
  variables {
    image = "tests/libvirt.tftest.hcl"
  }
  expect_failures = [var.image_sha512]
}

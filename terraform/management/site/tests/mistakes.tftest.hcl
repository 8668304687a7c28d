# Each mistake is refused before anything is made. No provider is needed.

variables {
  site = {
    network  = "10.0.20.0/24"
    gateway  = "10.0.20.1"
    vip      = "10.0.20.5"
    nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
    ssh_keys = ["ssh-ed25519 AAAA test"]
  }
}

run "without_a_mistake" {
  command = plan
}

run "the_vip_of_a_node_itself" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.11"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "a_vip_outside_the_network" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.21.5"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "a_vip_with_a_prefix_length" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5/24"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "the_broadcast_address_as_vip" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.255"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "the_gateway_as_vip" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.1"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "a_vip_that_dhcp_gives_away" {
  command = plan
  variables {
    site = {
      network    = "10.0.20.0/24"
      gateway    = "10.0.20.1"
      vip        = "10.0.20.120"
      nodes      = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys   = ["ssh-ed25519 AAAA test"]
      dhcp_range = { first = "10.0.20.110", last = "10.0.20.200" }
    }
  }
  expect_failures = [var.site]
}

run "a_network_written_with_a_host_address" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.1/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "a_node_outside_the_network" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "1" }, b = { address = "10.0.20.12", host = "2" }, c = { address = "10.0.30.13", host = "3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "the_same_address_twice" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "1" }, b = { address = "10.0.20.11", host = "2" }, c = { address = "10.0.20.13", host = "3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "two_nodes_without_a_choice" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "1" }, b = { address = "10.0.20.12", host = "2" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "a_witness_of_two" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "1" }, b = { address = "10.0.20.12", host = "2", witness = true } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
      survivor = true
    }
  }
  expect_failures = [var.site]
}

run "two_witnesses" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "1" }, b = { address = "10.0.20.12", host = "2", witness = true }, c = { address = "10.0.20.13", host = "3", witness = true } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "three_with_survivor" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
      survivor = true
    }
  }
  expect_failures = [var.site]
}

run "four_nodes" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "1" }, b = { address = "10.0.20.12", host = "2" }, c = { address = "10.0.20.13", host = "3" }, d = { address = "10.0.20.14", host = "4" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "two_nodes_on_one_hypervisor" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "1" }, b = { address = "10.0.20.12", host = "1" }, c = { address = "10.0.20.13", host = "3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "a_name_that_is_no_hostname" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a_b = { address = "10.0.20.11", host = "1" }, b = { address = "10.0.20.12", host = "2" }, c = { address = "10.0.20.13", host = "3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
    }
  }
  expect_failures = [var.site]
}

run "nobody_who_can_log_in" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = []
    }
  }
  expect_failures = [var.site]
}

run "root_as_admin" {
  command = plan
  variables {
    site = {
      network  = "10.0.20.0/24"
      gateway  = "10.0.20.1"
      vip      = "10.0.20.5"
      nodes    = { a = { address = "10.0.20.11", host = "hv-1" }, b = { address = "10.0.20.12", host = "hv-2" }, c = { address = "10.0.20.13", host = "hv-3" } }
      ssh_keys = ["ssh-ed25519 AAAA test"]
      admin    = "root"
    }
  }
  expect_failures = [var.site]
}

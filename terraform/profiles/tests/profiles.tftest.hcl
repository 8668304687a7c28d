# What is planned for which machines, and which mistakes are refused. Nothing is asked over the network.

mock_provider "matchbox" {}

variables {
  vip           = "10.0.20.5"
  credentials   = "tests/files"
  talos_version = "v1.13.0"
  worker_config = "tests/files/talos.yaml"

  # Said although they are the defaults: `terraform test` reads terraform.tfvars too.
  control_plane_config = null
  boot_url             = "$${base_url}"
  talos_arch           = "amd64"
  unknown_machines     = "nothing"

  machines = {
    cp-01     = { mac = "52:54:00:00:00:01", role = "control-plane" }
    worker-01 = { mac = "52-54-00-00-00-1A", role = "worker", address = "10.0.20.21/24", metadata = { rack = "a" } }
    worker-02 = { mac = "52:54:00:00:00:1B", role = "worker", boot = "rescue" }
    worker-03 = { mac = "52:54:00:00:00:1C", role = "worker", boot = "maintenance" }
  }
}

run "each_machine_gets_the_profile_of_its_role" {
  command = plan

  assert {
    condition     = { for name, group in matchbox_group.machine : name => group.profile } == { cp-01 = "talos-control-plane", worker-01 = "talos-worker", worker-02 = "rescue", worker-03 = "talos-maintenance" }
    error_message = "profiles: ${jsonencode({ for name, group in matchbox_group.machine : name => group.profile })}"
  }
  assert {
    condition     = matchbox_group.machine["worker-01"].selector.mac == "52:54:00:00:00:1a"
    error_message = "A mac is written as servers write it, else every plan has a change."
  }
  assert {
    condition     = matchbox_group.machine["worker-01"].metadata == tomap({ hostname = "worker-01", role = "worker", install_disk = "/dev/sda", address = "10.0.20.21/24", rack = "a" })
    error_message = "metadata: ${jsonencode(matchbox_group.machine["worker-01"].metadata)}"
  }
  assert {
    condition     = !contains(keys(matchbox_group.machine["cp-01"].metadata), "address")
    error_message = "A value that is not given is left out."
  }
  assert {
    condition     = output.not_installing == { worker-02 = "rescue", worker-03 = "maintenance" }
    error_message = "not_installing: ${jsonencode(output.not_installing)}"
  }
  assert {
    condition     = length(matchbox_group.unknown) == 0
    error_message = "Machines that are not listed get nothing unless it is asked for."
  }
}

run "only_a_profile_with_a_template_names_a_config" {
  command = plan

  assert {
    condition     = contains(matchbox_profile.talos["worker"].args, "talos.config=$${base_url}/generic?mac=$${mac:hexhyp}")
    error_message = "worker: ${jsonencode(matchbox_profile.talos["worker"].args)}"
  }
  assert {
    condition     = alltrue([for name in ["control-plane", "maintenance"] : !strcontains(join(" ", matchbox_profile.talos[name].args), "talos.config=")])
    error_message = "Without a template there is no config to ask for."
  }
  assert {
    condition     = matchbox_profile.talos["worker"].kernel == "/assets/talos/v1.13.0/vmlinuz-amd64" && matchbox_profile.talos["worker"].args[0] == "initrd=initramfs-amd64.xz"
    error_message = "kernel: ${matchbox_profile.talos["worker"].kernel}"
  }
}

run "a_url_for_servers_that_know_no_base_url" {
  command = plan
  variables {
    boot_url         = "http://10.0.20.5:8080"
    unknown_machines = "maintenance"
  }

  assert {
    condition     = contains(matchbox_profile.rescue.args, "url=http://10.0.20.5:8080/assets/rescue/live.iso")
    error_message = "rescue: ${jsonencode(matchbox_profile.rescue.args)}"
  }
  assert {
    condition     = contains(matchbox_profile.talos["worker"].args, "talos.config=http://10.0.20.5:8080/generic?mac=$${mac:hexhyp}")
    error_message = "worker: ${jsonencode(matchbox_profile.talos["worker"].args)}"
  }
  assert {
    condition     = matchbox_group.unknown[0].profile == "talos-maintenance" && length(matchbox_group.unknown[0].selector) == 0
    error_message = "The group of unknown machines selects by nothing."
  }
}

run "the_same_mac_twice_is_refused" {
  command = plan
  variables {
    machines = {
      a = { mac = "52:54:00:00:00:1a", role = "control-plane" }
      b = { mac = "52-54-00-00-00-1A", role = "control-plane" }
    }
  }
  expect_failures = [var.machines]
}

run "an_address_without_prefix_is_refused" {
  command = plan
  variables {
    machines = { a = { mac = "52:54:00:00:00:1a", role = "worker", address = "10.0.20.21" } }
  }
  expect_failures = [var.machines]
}

run "a_template_that_needs_an_address_wants_one" {
  command = plan
  variables {
    machines = { a = { mac = "52:54:00:00:00:1a", role = "worker" } }
  }
  expect_failures = [matchbox_group.machine]
}

run "credentials_that_are_not_there_are_named" {
  command = plan
  variables {
    credentials = "tests"
  }
  expect_failures = [var.credentials]
}

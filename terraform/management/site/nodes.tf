# What each node's first boot is told, whatever hypervisor it runs on. Pure: no resource is made here.

locals {
  prefix = split("/", var.site.network)[1]
  dns    = coalesce(var.site.dns, [var.site.gateway])

  # The serial by which the guest finds its data disk, whichever letter it gets.
  data_serial = "raftboot-data"
  data_device = "/dev/disk/by-id/virtio-${local.data_serial}"

  user_data = {
    for name, node in var.site.nodes : name => join("\n", ["#cloud-config", yamlencode({
      hostname          = name
      fqdn              = "${name}.${var.site.domain}"
      ssh_pwauth        = false
      package_update    = true
      packages          = ["python3"]
      growpart          = { mode = "auto", devices = ["/"] }
      resize_rootfs     = true
      preserve_hostname = false
      users = [{
        name                = var.site.admin
        groups              = ["sudo"]
        sudo                = "ALL=(ALL) NOPASSWD:ALL"
        shell               = "/bin/bash"
        lock_passwd         = true
        ssh_authorized_keys = var.site.ssh_keys
      }]
      fs_setup = [{
        device     = local.data_device
        filesystem = "ext4"
        label      = "raftboot"
        partition  = "none"
        overwrite  = false
      }]
      # No nofail: a node that starts without its data would take itself for a new one.
      mounts = [["LABEL=raftboot", "/var/lib/raftboot", "ext4", "defaults,noatime", "0", "2"]]
    })])
  }

  meta_data = {
    for name, node in var.site.nodes : name => yamlencode({
      # Another address makes another instance, so that cloud-init writes the network again.
      instance-id    = "${name}-${replace(node.address, ".", "-")}"
      local-hostname = name
    })
  }

  network_config = {
    for name, node in var.site.nodes : name => yamlencode({
      version = 2
      ethernets = {
        machines = {
          match       = { name = "e*" }
          dhcp4       = false
          dhcp6       = false
          addresses   = ["${node.address}/${local.prefix}"]
          routes      = [{ to = "0.0.0.0/0", via = var.site.gateway }]
          nameservers = { addresses = local.dns, search = [var.site.domain] }
        }
      }
    })
  }
}

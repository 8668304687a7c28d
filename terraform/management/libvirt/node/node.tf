# One node: a copy of the image, a data disk, what cloud-init reads, the machine.

terraform {
  required_providers {
    libvirt = {
      source = "dmacvicar/libvirt"
    }
  }
}

variable "name" {
  type = string
}

variable "node" {
  description = "What is this node's own."
  type = object({
    data_gib       = number
    user_data      = string
    meta_data      = string
    network_config = string
  })
}

variable "common" {
  description = "What all nodes share."
  type = object({
    cpus        = number
    memory_mib  = number
    root_gib    = number
    bridge      = string
    pool        = string
    image       = string
    data_serial = string
  })
}

locals {
  gib = pow(1024, 3)
}

resource "libvirt_volume" "image" {
  name   = "${var.name}-image.qcow2"
  pool   = var.common.pool
  target = { format = { type = "qcow2" } }
  create = { content = { url = var.common.image } }

  # A newer image is for new nodes: under a running one it would be taken away.
  lifecycle {
    ignore_changes = [create]
  }
}

resource "libvirt_volume" "root" {
  name     = "${var.name}-root.qcow2"
  pool     = var.common.pool
  capacity = var.common.root_gib * local.gib
  target   = { format = { type = "qcow2" } }
  backing_store = {
    path   = libvirt_volume.image.path
    format = { type = "qcow2" }
  }
}

# Raw: the log is synced before a change is answered, and nothing should stand between that and the disk.
resource "libvirt_volume" "data" {
  name     = "${var.name}-data.raw"
  pool     = var.common.pool
  capacity = var.node.data_gib * local.gib
  target   = { format = { type = "raw" } }

  lifecycle {
    prevent_destroy = true
  }
}

resource "libvirt_cloudinit_disk" "seed" {
  name           = "${var.name}-seed"
  user_data      = var.node.user_data
  meta_data      = var.node.meta_data
  network_config = var.node.network_config
}

resource "libvirt_volume" "seed" {
  name   = "${var.name}-seed.iso"
  pool   = var.common.pool
  create = { content = { url = libvirt_cloudinit_disk.seed.path } }

  # It was read at the first boot. The file above lies in this computer's /tmp, and is made again when that was emptied.
  lifecycle {
    ignore_changes = [create]
  }
}

resource "libvirt_domain" "node" {
  name        = var.name
  type        = "kvm"
  vcpu        = var.common.cpus
  memory      = var.common.memory_mib
  memory_unit = "MiB"
  cpu         = { mode = "host-model" }
  autostart   = true
  running     = true

  os = {
    type         = "hvm"
    type_arch    = "x86_64"
    type_machine = "q35"
    boot_devices = [{ dev = "hd" }]
  }
  features = { acpi = true }

  devices = {
    disks = [
      {
        source = { volume = { pool = libvirt_volume.root.pool, volume = libvirt_volume.root.name } }
        target = { bus = "virtio", dev = "vda" }
        driver = { name = "qemu", type = "qcow2", discard = "unmap" }
      },
      {
        source = { volume = { pool = libvirt_volume.data.pool, volume = libvirt_volume.data.name } }
        target = { bus = "virtio", dev = "vdb" }
        # Not "unsafe" nor "writeback": what is acknowledged must be on the hypervisor's disk.
        driver = { name = "qemu", type = "raw", cache = "none", io = "native", discard = "unmap" }
        serial = var.common.data_serial
      },
      # No CD-ROM: Debian's cloud kernel has no SATA, and would not see it.
      {
        source    = { volume = { pool = libvirt_volume.seed.pool, volume = libvirt_volume.seed.name } }
        target    = { bus = "virtio", dev = "vdc" }
        driver    = { name = "qemu", type = "raw" }
        read_only = true
      },
    ]

    # No filter_ref: a filter against foreign addresses would drop the floating one.
    interfaces = [{
      type   = "bridge"
      model  = { type = "virtio" }
      source = { bridge = { bridge = var.common.bridge } }
    }]

    consoles = [{ target = { type = "serial", port = 0 } }]
    rngs     = [{ model = "virtio", backend = { random = "/dev/urandom" } }]
  }
}

output "node" {
  description = "What was made, for people."
  value = {
    name     = libvirt_domain.node.name
    data_gib = libvirt_volume.data.capacity / local.gib
    disks    = [for disk in libvirt_domain.node.devices.disks : disk.serial if disk.serial != null]
    bridge   = libvirt_domain.node.devices.interfaces[0].source.bridge.bridge
  }
}

# One virtual machine per node, each on its own Proxmox node, where it stays.

module "site" {
  source = "../site"
  site   = var.site
}

resource "proxmox_download_file" "image" {
  for_each = toset([for node in module.site.nodes : node.host])

  content_type       = "import"
  datastore_id       = var.files_datastore
  node_name          = each.key
  url                = var.image_url
  checksum           = var.image_sha512
  checksum_algorithm = "sha512"
  # The ending tells Proxmox the format.
  file_name           = "raftboot-${substr(var.image_sha512, 0, 12)}.qcow2"
  overwrite           = false
  overwrite_unmanaged = true
}

resource "proxmox_virtual_environment_file" "user_data" {
  for_each = module.site.nodes

  content_type = "snippets"
  datastore_id = var.files_datastore
  node_name    = each.value.host

  source_raw {
    file_name = "${each.key}-user-data.yaml"
    data      = module.site.user_data[each.key]
  }
}

resource "proxmox_virtual_environment_vm" "node" {
  for_each = module.site.nodes

  name        = each.key
  description = each.value.witness ? "Raftboot witness: it only votes." : "Raftboot management node."
  tags        = ["raftboot"]
  node_name   = each.value.host
  # Proxmox refuses to remove it while this is on.
  protection = true
  on_boot    = true

  # Cloud images hold no guest agent; Proxmox stops such a machine by ACPI.
  agent {
    enabled = false
  }

  cpu {
    cores = var.size.cpus
    type  = "x86-64-v2-AES"
  }

  memory {
    dedicated = var.size.memory_mib
  }

  disk {
    interface    = "virtio0"
    datastore_id = var.datastore
    import_from  = proxmox_download_file.image[each.value.host].id
    size         = var.size.root_gib
    discard      = "on"
  }

  # cache = none: what is acknowledged must be on the host's disk. backup: a copy of it is no backup of the cluster.
  disk {
    interface    = "virtio1"
    datastore_id = var.datastore
    size         = each.value.witness ? var.size.witness_data_gib : var.size.data_gib
    file_format  = "raw"
    serial       = module.site.data_serial
    cache        = "none"
    discard      = "on"
    backup       = false
  }

  # Without Proxmox's firewall: its filter against foreign addresses would drop the floating one.
  network_device {
    bridge   = var.bridge
    vlan_id  = var.vlan
    model    = "virtio"
    firewall = false
  }

  # On virtio-scsi: Debian's cloud kernel has few other controllers.
  scsi_hardware = "virtio-scsi-pci"

  initialization {
    interface         = "scsi0"
    datastore_id      = var.datastore
    user_data_file_id = proxmox_virtual_environment_file.user_data[each.key].id

    dns {
      domain  = module.site.dns.domain
      servers = module.site.dns.servers
    }
    ip_config {
      ipv4 {
        address = each.value.address
        gateway = module.site.gateway
      }
    }
  }

  operating_system {
    type = "l26"
  }

  serial_device {}

  lifecycle {
    prevent_destroy = true
    # Read at the first boot, and a newer image is for new nodes.
    ignore_changes = [disk[0].import_from, initialization]
  }
}

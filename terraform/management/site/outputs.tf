# What the hypervisors' own files need, and what Ansible needs.

output "nodes" {
  description = "Each node: address with prefix length, hypervisor, whether it only votes."
  value = {
    for name, node in var.site.nodes : name => {
      address = "${node.address}/${local.prefix}"
      host    = node.host
      witness = node.witness
    }
  }
}

output "gateway" {
  value = var.site.gateway
}

output "dns" {
  value = { servers = local.dns, domain = var.site.domain }
}

output "data_serial" {
  description = "The serial that the data disk must have."
  value       = local.data_serial
}

output "user_data" {
  value = local.user_data
}

output "meta_data" {
  value = local.meta_data
}

output "network_config" {
  value = local.network_config
}

output "inventory" {
  description = "The inventory of ansible/, as text."
  value       = local.inventory
}

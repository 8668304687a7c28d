# What the next stage needs.

output "inventory" {
  description = "For Ansible: terraform output -raw inventory > ../../../ansible/inventory.yml"
  value       = module.site.inventory
}

output "nodes" {
  description = "Where each node is."
  value = {
    for name, node in proxmox_virtual_environment_vm.node : name => merge(module.site.nodes[name], { vm_id = node.vm_id })
  }
}

# What the next stage needs.

output "inventory" {
  description = "For Ansible: terraform output -raw inventory > ../../../ansible/inventory.yml"
  value       = module.site.inventory
}

output "nodes" {
  description = "Where each node is."
  value = {
    for node in concat([module.first.node, module.second.node], module.third[*].node) :
    node.name => merge(node, module.site.nodes[node.name])
  }
}

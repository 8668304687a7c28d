# The inventory that Ansible reads, in the form of ansible/inventory.example.yml.

locals {
  inventory = join("", ["# Written by Terraform from terraform/management; changes belong there.\n", yamlencode({
    all = {
      vars = {
        ansible_user = var.site.admin
        raftboot_vip = var.site.vip
      }
      children = {
        raftboot = {
          hosts = {
            for name, node in var.site.nodes : name => merge(
              { ansible_host = node.address },
              node.witness ? { raftboot_witness = true } : {},
            )
          }
        }
      }
    }
  })])
}

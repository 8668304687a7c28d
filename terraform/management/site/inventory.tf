# The inventory that Ansible reads, in the form of ansible/inventory.example.yml.

locals {
  inventory = join("", ["# Written by Terraform from terraform/management; changes belong there.\n", yamlencode({
    raftboot = {
      vars = merge(
        {
          ansible_user = var.site.admin
          raftboot_vip = var.site.vip
        },
        var.site.survivor ? { raftboot_survivor = true } : {},
        # Slower timing for nodes that share a disk.
        var.site.one_host ? { raftboot_timing = "vm" } : {},
      )
      hosts = {
        for name, node in var.site.nodes : name => merge(
          { ansible_host = node.address },
          node.witness ? { raftboot_witness = true } : {},
        )
      }
    }
  })])
}

# One virtual machine per node, each on its own hypervisor.

module "site" {
  source = "../site"
  site   = var.site
}

locals {
  names = sort(keys(module.site.nodes))
  # Three, for three providers: with two nodes the last stands in for the third, which makes nothing.
  hosts = [for i in range(3) : module.site.nodes[local.names[min(i, length(local.names) - 1)]].host]

  nodes = {
    for name, node in module.site.nodes : name => {
      data_gib       = node.witness ? var.size.witness_data_gib : var.size.data_gib
      user_data      = module.site.user_data[name]
      meta_data      = module.site.meta_data[name]
      network_config = module.site.network_config[name]
    }
  }
  common = merge(var.size, {
    bridge      = var.bridge
    pool        = var.pool
    image       = pathexpand(var.image)
    data_serial = module.site.data_serial
  })
}

module "first" {
  source    = "./node"
  providers = { libvirt = libvirt.first }
  name      = local.names[0]
  node      = local.nodes[local.names[0]]
  common    = local.common
}

module "second" {
  source    = "./node"
  providers = { libvirt = libvirt.second }
  name      = local.names[1]
  node      = local.nodes[local.names[1]]
  common    = local.common
}

module "third" {
  count     = length(local.names) > 2 ? 1 : 0
  source    = "./node"
  providers = { libvirt = libvirt.third }
  name      = local.names[count.index + 2]
  node      = local.nodes[local.names[count.index + 2]]
  common    = local.common
}

# What a site says about its management nodes, checked before anything is made.

variable "site" {
  description = <<-EOT
    The management nodes and their network.
      network     the machine network, such as 10.0.20.0/24
      gateway     its gateway
      dns         name servers; the gateway unless given
      domain      the nodes' domain
      vip         the cluster's floating address: in the network, nobody's own
      dhcp_range  first and last address the site's DHCP gives away, so that no fixed one lies in it
      nodes       by hostname: address; host, the hypervisor it is put on; witness = true for one that only votes
      survivor    two nodes without a witness: the one that is left serves machines, and no change is accepted
      one_host    accept several nodes on one hypervisor, for a try-out
      admin       the user Ansible logs in as, with sudo
      ssh_keys    that user's public keys
  EOT
  type = object({
    network    = string
    gateway    = string
    dns        = optional(list(string))
    domain     = optional(string, "internal")
    vip        = string
    dhcp_range = optional(object({ first = string, last = string }))
    nodes = map(object({
      address = string
      host    = string
      witness = optional(bool, false)
    }))
    survivor = optional(bool, false)
    one_host = optional(bool, false)
    admin    = optional(string, "ops")
    ssh_keys = list(string)
  })

  # --- The network ---

  validation {
    condition = try(
      cidrhost(var.site.network, 0) == split("/", var.site.network)[0] && tonumber(split("/", var.site.network)[1]) <= 29,
      false,
    )
    error_message = "network is an IPv4 network with room for nodes and the VIP, written with its first address, such as 10.0.20.0/24."
  }

  validation {
    condition = alltrue([
      for address in concat([var.site.gateway, var.site.vip], [for node in var.site.nodes : node.address], coalesce(var.site.dns, [])) :
      can(cidrhost("${address}/32", 0)) && can(regex("^[0-9.]+$", address))
    ])
    error_message = "gateway, dns, vip and each node's address are single IPv4 addresses without a prefix length, such as 10.0.20.11."
  }

  validation {
    condition = alltrue([
      for address in concat([var.site.gateway, var.site.vip], [for node in var.site.nodes : node.address]) :
      try(cidrhost("${address}/${split("/", var.site.network)[1]}", 0) == cidrhost(var.site.network, 0), false)
    ])
    error_message = "gateway, vip and each node's address lie in network: all of them talk to machines directly."
  }

  validation {
    condition = alltrue([
      for address in concat([var.site.gateway, var.site.vip], [for node in var.site.nodes : node.address]) :
      try(!contains([cidrhost(var.site.network, 0), cidrhost(var.site.network, -1)], address), true)
    ])
    error_message = "The first and the last address of network belong to nobody."
  }

  # --- Who has which address ---

  validation {
    condition     = !contains([for node in var.site.nodes : node.address], var.site.vip)
    error_message = "vip is a node's own address. An address that a node has of its own cannot move to another one: give that node another."
  }

  validation {
    condition     = !contains(concat([var.site.vip], [for node in var.site.nodes : node.address]), var.site.gateway)
    error_message = "The gateway's address is given to a node, or is the vip."
  }

  validation {
    condition     = length(distinct([for node in var.site.nodes : node.address])) == length(var.site.nodes)
    error_message = "Two nodes have the same address."
  }

  validation {
    condition = var.site.dhcp_range == null || try(alltrue([
      for address in concat([var.site.vip], [for node in var.site.nodes : node.address]) : (
        sum([for i, byte in split(".", address) : tonumber(byte) * pow(256, 3 - i)])
        < sum([for i, byte in split(".", var.site.dhcp_range.first) : tonumber(byte) * pow(256, 3 - i)])
        ||
        sum([for i, byte in split(".", address) : tonumber(byte) * pow(256, 3 - i)])
        > sum([for i, byte in split(".", var.site.dhcp_range.last) : tonumber(byte) * pow(256, 3 - i)])
      )
    ]), false)
    error_message = "The vip or a node's address lies in dhcp_range: the site's DHCP may give it to somebody else."
  }

  # --- How many, and where ---

  validation {
    condition     = alltrue([for name in keys(var.site.nodes) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "A node is called by a hostname: up to 63 lower-case letters, digits and inner hyphens."
  }

  validation {
    condition     = contains([2, 3], length(var.site.nodes))
    error_message = "Two or three management nodes. One needs none of this; more than three make nothing safer that two failures would break."
  }

  validation {
    condition     = length([for node in var.site.nodes : node if node.witness]) <= (length(var.site.nodes) == 3 ? 1 : 0)
    error_message = "A witness is the third of three nodes: two nodes serve machines, and the witness only votes."
  }

  validation {
    condition     = length(var.site.nodes) != 2 || var.site.survivor
    error_message = "With two nodes, changes and the VIP stop when one is gone. Add a third node, or one with witness = true, or say survivor = true and read docs/operate/failures.md."
  }

  validation {
    condition     = !var.site.survivor || length(var.site.nodes) == 2
    error_message = "survivor = true is for two nodes; three have a quorum without it."
  }

  validation {
    condition     = var.site.one_host || length(distinct([for node in var.site.nodes : node.host])) == length(var.site.nodes)
    error_message = "Two nodes are put on one hypervisor, so that they fail together. Spread them, or say one_host = true for a try-out."
  }

  # --- Who logs in ---

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]{0,31}$", var.site.admin)) && !contains(["root", "raftboot"], var.site.admin)
    error_message = "admin is the name of a new user: not root, and not raftboot, which is the service's own."
  }

  validation {
    condition     = length(var.site.ssh_keys) > 0 && alltrue([for key in var.site.ssh_keys : can(regex("^(ssh-|ecdsa-|sk-)[^ ]+ [A-Za-z0-9+/=]+", key))])
    error_message = "ssh_keys holds at least one public key, such as the line of ~/.ssh/id_ed25519.pub: nobody can log in with a password."
  }
}

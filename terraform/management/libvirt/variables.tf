# What differs from site to site. Example values: terraform.tfvars.example.

variable "site" {
  description = "The nodes and their network: management/site/variables.tf says what it holds and checks it."
  type        = any

  validation {
    condition = length(setsubtract(keys(var.site), [
      "network", "gateway", "dns", "domain", "vip", "dhcp_range", "nodes", "survivor", "one_host", "admin", "ssh_keys",
    ])) == 0
    error_message = "site holds something unknown, perhaps a typing error; management/site/variables.tf lists what there is."
  }

  validation {
    condition     = alltrue([for node in try(var.site.nodes, {}) : length(setsubtract(keys(node), ["address", "host", "witness"])) == 0])
    error_message = "A node holds something unknown, perhaps a typing error: there are address, host and witness."
  }
}

variable "hypervisors" {
  description = "libvirt's address of each host that a node names, such as qemu+ssh://root@hv-1/system."
  type        = map(string)

  validation {
    condition     = alltrue([for node in try(var.site.nodes, {}) : contains(keys(var.hypervisors), node.host)])
    error_message = "A node is to be put on a host that hypervisors does not name."
  }

  validation {
    condition     = alltrue([for uri in var.hypervisors : can(regex("^(qemu|test)(\\+[a-z]+)?://", uri))])
    error_message = "A hypervisor is a libvirt address, such as qemu+ssh://root@hv-1/system or qemu:///system."
  }
}

variable "bridge" {
  description = "The bridge of the machine network on each hypervisor: untagged members of VLAN 20."
  type        = string
  default     = "br20"
}

variable "pool" {
  description = "The storage pool for the disks, on each hypervisor."
  type        = string
  default     = "default"
}

variable "image" {
  description = "File with the cloud image, qcow2, on this computer: Debian 12 (genericcloud) or Ubuntu 24.04."
  type        = string

  validation {
    condition     = try(fileexists(pathexpand(var.image)), false)
    error_message = "There is no file of the name image says. Download the image first: the provider would check no checksum."
  }
}

variable "image_sha512" {
  description = "The image's SHA-512, from the list beside the download."
  type        = string

  validation {
    condition     = try(filesha512(pathexpand(var.image)) == lower(var.image_sha512), false)
    error_message = "The image is not the one image_sha512 means: download it again, or correct the checksum."
  }
}

variable "size" {
  description = "Of each node; a witness gets the smaller data disk. The data disk holds every file that machines fetch, and their successors; the system's disk the nightly backups of them."
  type = object({
    cpus             = optional(number, 2)
    memory_mib       = optional(number, 2048)
    root_gib         = optional(number, 40)
    data_gib         = optional(number, 50)
    witness_data_gib = optional(number, 10)
  })
  default = {}

  validation {
    condition     = var.size.cpus >= 1 && var.size.memory_mib >= 1024 && var.size.root_gib >= 5 && var.size.data_gib >= 10 && var.size.witness_data_gib >= 5
    error_message = "At least 1 processor, 1024 MiB of memory, 5 GiB for the system, 10 GiB for data, 5 GiB for a witness's data."
  }
}

# What differs from site to site. Example values: terraform.tfvars.example.

variable "site" {
  description = "The nodes and their network: management/site/variables.tf says what it holds and checks it. A node's host is a Proxmox node."
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

variable "endpoint" {
  description = "The Proxmox API, such as https://10.0.10.31:8006/."
  type        = string

  validation {
    condition     = can(regex("^https://[^/[:space:]]+(:[0-9]+)?/?$", var.endpoint))
    error_message = "endpoint is https://HOST:8006/."
  }
}

variable "endpoint_insecure" {
  description = "Accept a certificate that nobody vouches for, as Proxmox makes one for itself."
  type        = bool
  default     = false
}

variable "ssh_username" {
  description = "Who may copy snippets to the Proxmox nodes by SSH."
  type        = string
  default     = "root"
}

variable "bridge" {
  description = "The VLAN-aware bridge of the Proxmox nodes."
  type        = string
  default     = "vmbr0"
}

variable "vlan" {
  description = "The machine network's VLAN; null where the bridge has that network untagged."
  type        = number
  default     = 20

  validation {
    condition     = var.vlan == null || try(var.vlan >= 1 && var.vlan <= 4094, false)
    error_message = "vlan is 1 to 4094, or null."
  }
}

variable "datastore" {
  description = "Storage for disks: local to each Proxmox node, so that a broken storage takes one node and not all."
  type        = string
  default     = "local-lvm"
}

variable "files_datastore" {
  description = "Storage for the image and the snippets; its content types must include Import and Snippets."
  type        = string
  default     = "local"
}

variable "image_url" {
  description = "The cloud image, qcow2: Debian 12 (genericcloud) or Ubuntu 24.04. A dated one, so that it stays what the checksum says."
  type        = string

  validation {
    condition     = can(regex("^https?://.+[.](qcow2|img)$", var.image_url))
    error_message = "image_url is where a .qcow2 or .img file is fetched from."
  }
}

variable "image_sha512" {
  description = "The image's SHA-512, from the list beside the download. (Ubuntu lists SHA-256: compute it once yourself.)"
  type        = string

  validation {
    condition     = can(regex("^[0-9a-fA-F]{128}$", var.image_sha512))
    error_message = "image_sha512 is 128 hexadecimal digits."
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

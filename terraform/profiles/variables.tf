# What differs from site to site. Example values: terraform.tfvars.example.

# --- Where the cluster is ---

variable "vip" {
  description = "The cluster's VIP: the provider talks to it, and so do people who check what a machine gets."
  type        = string

  validation {
    condition     = can(cidrhost("${var.vip}/32", 0))
    error_message = "vip is one IPv4 address without a prefix length, such as 10.0.20.5."
  }
}

variable "endpoint" {
  description = "HOST:PORT of the gRPC service; port 8081 of the VIP unless given. A name must be one that the server's certificate knows."
  type        = string
  default     = null

  validation {
    condition     = var.endpoint == null || can(regex("^[A-Za-z0-9.-]+:[0-9]{1,5}$", var.endpoint))
    error_message = "endpoint is HOST:PORT without a scheme, such as boot.example.com:8081."
  }
}

variable "credentials" {
  description = "Directory with ca.crt, client.crt and client.key."
  type        = string
  default     = "credentials"

  validation {
    condition = alltrue([
      for name in ["ca.crt", "client.crt", "client.key"] : fileexists("${pathexpand(var.credentials)}/${name}")
    ])
    error_message = "The directory credentials must hold ca.crt, client.crt and client.key: `raftboot cert client NAME` on a node writes them."
  }
}

variable "boot_url" {
  description = "What stands for $${base_url} in kernel arguments. Raftboot fills that in itself; matchbox needs http://VIP:8080 here."
  type        = string
  default     = "$${base_url}"

  validation {
    condition     = var.boot_url == "$${base_url}" || can(regex("^https?://[^/[:space:]]+$", var.boot_url))
    error_message = "boot_url is $${base_url}, or http://HOST:PORT without anything after it."
  }
}

# --- Talos Linux ---

variable "talos_version" {
  description = "Release whose kernel and initramfs are booted: assets talos/VERSION/vmlinuz-ARCH and talos/VERSION/initramfs-ARCH.xz."
  type        = string

  validation {
    condition     = can(regex("^v[0-9]+\\.[0-9]+\\.[0-9]+(-[a-z0-9.]+)?$", var.talos_version))
    error_message = "talos_version is a release as its tag says it, such as v1.13.0."
  }
}

variable "talos_arch" {
  description = "Processor architecture of the machines."
  type        = string
  default     = "amd64"

  validation {
    condition     = contains(["amd64", "arm64"], var.talos_arch)
    error_message = "talos_arch is amd64 or arm64."
  }
}

variable "talos_args" {
  description = "Kernel arguments of every Talos profile, beside initrd and talos.config. Those of a management service are added here."
  type        = list(string)
  default = [
    "talos.platform=metal",
    "init_on_alloc=1",
    "slab_nomerge",
    "pti=on",
    "console=tty0",
    "console=ttyS0",
    "printk.devkmsg=on",
  ]
}

variable "control_plane_config" {
  description = "File with the machine config template of control plane machines. Null: they start in maintenance mode."
  type        = string
  default     = null

  validation {
    condition     = var.control_plane_config == null || try(fileexists(pathexpand(var.control_plane_config)), false)
    error_message = "There is no file of the name control_plane_config says; the README tells how talosctl makes one."
  }
}

variable "worker_config" {
  description = "File with the machine config template of workers. Null: they start in maintenance mode."
  type        = string
  default     = null

  validation {
    condition     = var.worker_config == null || try(fileexists(pathexpand(var.worker_config)), false)
    error_message = "There is no file of the name worker_config says; the README tells how talosctl makes one."
  }
}

# --- Rescue ---

variable "rescue" {
  description = "What a machine in rescue boots; the default fits an Ubuntu live image put as assets rescue/vmlinuz, rescue/initrd, rescue/live.iso."
  type = object({
    kernel = string
    initrd = list(string)
    args   = list(string)
  })
  default = {
    kernel = "/assets/rescue/vmlinuz"
    initrd = ["/assets/rescue/initrd"]
    args   = ["initrd=initrd", "boot=casper", "ip=dhcp", "url=$${base_url}/assets/rescue/live.iso", "console=tty0", "console=ttyS0"]
  }
}

# --- Machines ---

variable "machines" {
  description = <<-EOT
    The machines, by hostname.
      mac           of the card it boots from, in any common form
      role          control-plane or worker
      boot          talos; maintenance: Talos that waits to be told; rescue
      address       with prefix length, for templates that say {{.address}}
      install_disk  for templates that say {{.install_disk}}
      metadata      more values for templates, each {{.NAME}}
  EOT
  type = map(object({
    mac          = string
    role         = string
    boot         = optional(string, "talos")
    address      = optional(string)
    install_disk = optional(string, "/dev/sda")
    metadata     = optional(map(string), {})
  }))

  validation {
    condition     = alltrue([for name in keys(var.machines) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "A machine is called by a hostname: up to 63 lower-case letters, digits and inner hyphens."
  }

  validation {
    condition     = alltrue([for machine in var.machines : can(regex("^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$", machine.mac))])
    error_message = "A mac is six pairs of hexadecimal digits, such as 52:54:00:12:34:56."
  }

  validation {
    condition = length(var.machines) == length(distinct([
      for machine in var.machines : lower(replace(machine.mac, "-", ":"))
    ]))
    error_message = "Two machines have the same mac, so it would be chance which of them boots."
  }

  validation {
    condition     = alltrue([for machine in var.machines : contains(["control-plane", "worker"], machine.role)])
    error_message = "A role is control-plane or worker."
  }

  validation {
    condition     = alltrue([for machine in var.machines : contains(["talos", "maintenance", "rescue"], machine.boot)])
    error_message = "A machine boots talos, maintenance or rescue."
  }

  validation {
    condition     = alltrue([for machine in var.machines : machine.address == null || can(cidrhost(machine.address, 0))])
    error_message = "An address has a prefix length, such as 10.0.20.10/24."
  }

  validation {
    condition = alltrue([
      for address in [for machine in var.machines : machine.address if machine.address != null] :
      length([for machine in var.machines : machine if machine.address == address]) == 1
    ])
    error_message = "Two machines have the same address."
  }
}

variable "unknown_machines" {
  description = "What a machine that is not listed boots: nothing, maintenance or rescue. Never an installation."
  type        = string
  default     = "nothing"

  validation {
    condition     = contains(["nothing", "maintenance", "rescue"], var.unknown_machines)
    error_message = "unknown_machines is nothing, maintenance or rescue."
  }
}

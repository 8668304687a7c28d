# Which Terraform and provider these files need. Pinned: 0.9 changed every resource, and its parts still move.

terraform {
  required_version = ">= 1.7"

  required_providers {
    libvirt = {
      source  = "dmacvicar/libvirt"
      version = "0.9.7"
    }
  }
}

# One per hypervisor. Terraform makes no providers in a loop, so there are three; the third is not asked when it is not used.
provider "libvirt" {
  alias = "first"
  uri   = var.hypervisors[local.hosts[0]]
}

provider "libvirt" {
  alias = "second"
  uri   = var.hypervisors[local.hosts[1]]
}

provider "libvirt" {
  alias = "third"
  uri   = var.hypervisors[local.hosts[2]]
}

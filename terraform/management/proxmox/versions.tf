# Which Terraform and provider these files need. Pinned: releases below 1.0 may change anything.

terraform {
  required_version = ">= 1.7"

  required_providers {
    proxmox = {
      source  = "bpg/proxmox"
      version = "0.111.1"
    }
  }
}

# The token comes from PROXMOX_VE_API_TOKEN. Snippets, which cloud-init reads, are copied by SSH with the keys of your agent.
provider "proxmox" {
  endpoint = var.endpoint
  insecure = var.endpoint_insecure

  ssh {
    agent    = true
    username = var.ssh_username
  }
}

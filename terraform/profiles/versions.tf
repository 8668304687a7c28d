# Which Terraform and provider these files need, and where the provider finds the cluster.

terraform {
  required_version = ">= 1.7"

  required_providers {
    matchbox = {
      source  = "poseidon/matchbox"
      version = "~> 0.5.4"
    }
  }
}

provider "matchbox" {
  endpoint    = coalesce(var.endpoint, "${var.vip}:8081")
  ca          = file("${pathexpand(var.credentials)}/ca.crt")
  client_cert = file("${pathexpand(var.credentials)}/client.crt")
  client_key  = file("${pathexpand(var.credentials)}/client.key")
}

# Which machine gets what: one group a machine, chosen by its MAC.

locals {
  profiles = merge(
    { for name, profile in matchbox_profile.talos : name => profile.name },
    { rescue = matchbox_profile.rescue.name },
  )
}

resource "matchbox_group" "machine" {
  for_each = var.machines

  name    = each.key
  profile = local.profiles[each.value.boot == "talos" ? each.value.role : each.value.boot]

  # As servers write it; in another form matchbox would plan a change for ever.
  selector = { mac = lower(replace(each.value.mac, "-", ":")) }

  # A value that is not there is left out: a template that names it is then refused instead of filled with nothing.
  metadata = merge(
    { hostname = each.key, role = each.value.role, install_disk = each.value.install_disk },
    each.value.address == null ? {} : { address = each.value.address },
    each.value.metadata,
  )

  lifecycle {
    precondition {
      condition     = each.value.boot != "talos" || each.value.address != null || !contains(local.address_needed, each.value.role)
      error_message = "The template of role ${each.value.role} says {{.address}}, and ${each.key} has no address."
    }
  }
}

# Selects by nothing, so every listed machine's group goes before it. No hostname can hold an underscore.
resource "matchbox_group" "unknown" {
  count = var.unknown_machines == "nothing" ? 0 : 1

  name     = "unknown_machines"
  profile  = local.profiles[var.unknown_machines]
  selector = {}
  metadata = {}
}

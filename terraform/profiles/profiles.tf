# What to boot. Names stay the same when contents change, so that no group has to change with them.

locals {
  talos = "/assets/talos/${var.talos_version}"

  # The template of each Talos profile; without one Talos starts in maintenance mode.
  talos_configs = {
    control-plane = var.control_plane_config
    worker        = var.worker_config
    maintenance   = null
  }

  # They hold the secrets of the Talos cluster: kept out of what Terraform prints, though not out of its state.
  templates = {
    for name, path in local.talos_configs : name => sensitive(path == null ? "" : file(pathexpand(path)))
  }

  # The profiles whose template says {{.address}}.
  address_needed = nonsensitive([for name, text in local.templates : name if can(regex("{{[^}]*\\.address\\b", text))])
}

resource "matchbox_profile" "talos" {
  for_each = local.talos_configs

  name   = "talos-${each.key}"
  kernel = "${local.talos}/vmlinuz-${var.talos_arch}"
  initrd = ["${local.talos}/initramfs-${var.talos_arch}.xz"]

  # iPXE fills in ${mac:hexhyp}: the machine asks for its config by the card it booted from.
  args = concat(
    ["initrd=initramfs-${var.talos_arch}.xz"],
    [for arg in var.talos_args : replace(arg, "$${base_url}", var.boot_url)],
    each.value == null ? [] : ["talos.config=${var.boot_url}/generic?mac=$${mac:hexhyp}"],
  )

  generic_config = each.value == null ? null : local.templates[each.key]
}

resource "matchbox_profile" "rescue" {
  name   = "rescue"
  kernel = var.rescue.kernel
  initrd = var.rescue.initrd
  args   = [for arg in var.rescue.args : replace(arg, "$${base_url}", var.boot_url)]
}

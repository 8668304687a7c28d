# What was applied, for people and for scripts.

output "machines" {
  description = "Each machine's profile, and the address at which anyone can read the script it gets."
  value = {
    for name, group in matchbox_group.machine : name => {
      mac     = group.selector.mac
      profile = group.profile
      script  = "http://${var.vip}:8080/ipxe?mac=${replace(group.selector.mac, ":", "-")}"
    }
  }
}

output "not_installing" {
  description = "Machines that boot something else than Talos with its config, so that nobody forgets them there."
  value       = { for name, machine in var.machines : name => machine.boot if machine.boot != "talos" }
}

#!/usr/bin/python
"""Makes settings that the nodes share what they should be, if they are not."""

import json

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: raftboot_settings
short_description: Settings that all nodes of a Raftboot cluster share
description: >-
  Reads them through the node on this host and changes those that differ, as one change. What is not named stays as it is.
  Supports check mode and diff.
options:
  kind: {description: C(cluster) or C(settings)., type: str, required: true, choices: [cluster, settings]}
  values: {description: Wanted values; null or an empty value is the default again., type: dict, required: true}
  binary: {description: The program., type: path, default: /usr/bin/raftboot}
author: [Raftboot]
"""

EXAMPLES = r"""
- name: Give the cluster its VIP
  raftboot_settings:
    kind: cluster
    values: {vip: 10.0.20.5}
"""

RETURN = r"""
changes:
  description: What was, or would be, set.
  returned: always
  type: dict
"""


def flat(values, prefix=""):
    """One level of keys: C(loaders.bios)."""
    found = {}
    for key, value in (values or {}).items():
        if isinstance(value, dict):
            found.update(flat(value, prefix + key + "."))
        else:
            found[prefix + key] = value
    return found


def as_text(key, value):
    """A value as the command line takes it; an empty text is the default again."""
    if value is None:
        return ""
    if isinstance(value, bool):
        # YAML reads a bare `off` as false.
        return "on" if value else "off"
    if isinstance(value, list):
        return ("," if key == "dns_names" else " ").join(str(item) for item in value)
    return str(value)


def differences(wanted, present, members):
    """Keys whose value is another than the wanted one, with the wanted value as text."""
    names = {str(member.get("id")): member.get("name") for member in members}
    found = {}
    for key, value in flat(wanted).items():
        was = present.get(key)
        if key == "preferred" and was is not None:
            was = names.get(str(was), was)
        text = as_text(key, value)
        # What the answers call a default is one also when it is written out.
        if text != as_text(key, was) and not (text == "" and as_text(key, was) in ("", "none")):
            found[key] = text
    return found


def main():
    """Reads, compares, sets."""
    module = AnsibleModule(
        argument_spec={
            "kind": {"type": "str", "required": True, "choices": ["cluster", "settings"]},
            "values": {"type": "dict", "required": True},
            "binary": {"type": "path", "default": "/usr/bin/raftboot"},
        },
        supports_check_mode=True,
    )
    binary, kind = module.params["binary"], module.params["kind"]

    def read(argv):
        code, out, err = module.run_command([binary] + argv + ["-o", "json"])
        if code != 0:
            module.fail_json(msg="raftboot %s: %s" % (" ".join(argv), err.strip()))
        return json.loads(out)

    wanted = module.params["values"]
    members = read(["status"]).get("members", []) if "preferred" in wanted else []
    present = flat(read([kind, "get"]))
    changes = differences(wanted, present, members)
    if changes and not module.check_mode:
        argv = [binary, kind, "set"] + ["%s=%s" % (key, changes[key]) for key in sorted(changes)]
        code, _out, err = module.run_command(argv)
        if code != 0:
            module.fail_json(msg="%s: %s" % (" ".join(argv), err.strip()))
    lines = [{key: source.get(key) for key in sorted(changes)} for source in (present, changes)]
    diff = [json.dumps(side, indent=2, sort_keys=True) + "\n" for side in lines]
    header = "raftboot %s" % kind
    module.exit_json(changed=bool(changes), changes=changes, diff={
        "before_header": header, "after_header": header, "before": diff[0], "after": diff[1]})


if __name__ == "__main__":
    main()

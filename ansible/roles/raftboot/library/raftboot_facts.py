#!/usr/bin/python
"""Looks at a management node in one go and changes nothing."""

import json
import os
import re
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: raftboot_facts
short_description: What a management node is, as far as Raftboot is concerned
description: One look at package, service, membership, cluster, addresses, foreign listeners and clock. Changes nothing.
options:
  data_dir: {description: Where the node keeps its data., type: path, default: /var/lib/raftboot}
  config: {description: The node's configuration file., type: path, default: /etc/raftboot/raftboot.toml}
  binary: {description: The program., type: path, default: /usr/bin/raftboot}
  unit: {description: The service., type: str, default: raftboot.service}
  ports: {description: 'Ports the node will need, such as udp/67.', type: list, elements: str, default: []}
author: [Raftboot]
"""

EXAMPLES = r"""
- name: Look at this node
  raftboot_facts:
    ports: [udp/67, tcp/8080]
"""

RETURN = r"""
ansible_facts:
  description: One fact, C(raftboot_now).
  returned: always
  type: dict
"""

# Seconds the node has to say how the cluster is.
STATUS_TIMEOUT = 10


def ask(module, argv):
    """What a command printed, or nothing when it failed or is not there."""
    if module.get_bin_path(argv[0], required=False) is None:
        return None
    code, out, _err = module.run_command(argv)
    return out if code == 0 else None


def service(module, unit):
    """Whether the service runs, as which process, since when, and whether it starts with the computer."""
    shown = ask(module, ["systemctl", "show", unit, "--timestamp=unix", "-p",
                         "LoadState,ActiveState,MainPID,ExecMainStartTimestamp,UnitFileState"]) or ""
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    started = values.get("ExecMainStartTimestamp", "").lstrip("@")
    return {
        "loaded": values.get("LoadState") == "loaded",
        "active": values.get("ActiveState") in ("active", "reloading", "activating"),
        "enabled": values.get("UnitFileState") == "enabled",
        "pid": int(values.get("MainPID") or 0),
        "started": int(started) if started.isdigit() else None,
    }


def restart_reasons(running, config):
    """Why a running service is not what is on the disk now; empty when it is."""
    reasons = []
    if not running["active"] or not running["pid"]:
        return reasons
    try:
        # The kernel says so when the file a process was started from has been replaced.
        if os.readlink("/proc/%d/exe" % running["pid"]).endswith(" (deleted)"):
            reasons.append("the program was replaced")
    except OSError:
        pass
    try:
        if running["started"] is not None and os.stat(config).st_mtime >= running["started"] + 1:
            reasons.append("the configuration was changed")
    except OSError:
        pass
    return reasons


def addresses(module):
    """IPv4 addresses by interface; finite: given for a while only, as the VIP is by the service."""
    found = []
    for link in json.loads(ask(module, ["ip", "-j", "-4", "address", "show"]) or "[]"):
        for row in link.get("addr_info", []):
            found.append({
                "interface": link.get("ifname"),
                "address": row.get("local"),
                "prefix": row.get("prefixlen"),
                "finite": row.get("valid_life_time", 4294967295) != 4294967295,
                "dynamic": bool(row.get("dynamic")) and row.get("prefixlen") != 32,
            })
    return found


def listeners(module, wanted):
    """Who listens on the wanted ports and is not ours."""
    found = []
    for protocol, flag in (("udp", "-u"), ("tcp", "-t")):
        for line in (ask(module, ["ss", "-H", "-l", "-n", "-p", flag]) or "").splitlines():
            words = line.split()
            if len(words) < 5:
                continue
            host, _colon, port = words[3].rpartition(":")
            name = "%s/%s" % (protocol, port)
            program = re.search(r'users:\(\("([^"]+)"', line)
            program = program.group(1) if program else "a program that hides its name"
            # What listens on this host's own loopback is in nobody's way, unless it is on every address.
            if name in wanted and program != "raftboot" and not host.startswith("127."):
                found.append({"port": name, "program": program})
    return [row for number, row in enumerate(found) if row not in found[:number]]


def generation(directory):
    """The generation of the cluster that the data directory belongs to; nothing where it cannot be read.

    The file is a frame of 16 bytes (magic, codec, kind 5, schema 1 ...), then 16 of the cluster, 8 of the generation and 8 of the node.
    """
    try:
        with open(os.path.join(directory, "raft", "identity"), "rb") as file:
            frame = file.read(49)
    except OSError:
        return None
    if len(frame) != 48 or frame[:6] != b"RB\x01\x05\x01\x00":
        return None
    return int.from_bytes(frame[32:40], "little")


def cluster(module, binary):
    """How the cluster is, asked of the node on this host; the second value says why nothing is known."""
    if not os.access(binary, os.X_OK):
        return None, "not installed"
    code, out, err = module.run_command(["timeout", str(STATUS_TIMEOUT), binary, "status", "-o", "json"])
    try:
        return json.loads(out), None
    except ValueError:
        return None, err.strip() or "exit code %d" % code


def main():
    """Looks."""
    module = AnsibleModule(
        argument_spec={
            "data_dir": {"type": "path", "default": "/var/lib/raftboot"},
            "config": {"type": "path", "default": "/etc/raftboot/raftboot.toml"},
            "binary": {"type": "path", "default": "/usr/bin/raftboot"},
            "unit": {"type": "str", "default": "raftboot.service"},
            "ports": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    running = service(module, wanted["unit"])
    status, why = cluster(module, wanted["binary"]) if running["active"] else (None, "the service does not run")
    package = ask(module, ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "raftboot"]) or ""
    module.exit_json(changed=False, ansible_facts={"raftboot_now": {
        "installed": os.access(wanted["binary"], os.X_OK),
        "package": package.split()[1] if package.startswith("installed ") else None,
        "service": running,
        "restart": restart_reasons(running, wanted["config"]),
        "member": os.path.exists(os.path.join(wanted["data_dir"], "raft", "identity")),
        "generation": generation(wanted["data_dir"]),
        "status": status,
        "status_error": why,
        "addresses": addresses(module),
        "foreign": listeners(module, wanted["ports"]),
        "clock": time.time(),
    }})


if __name__ == "__main__":
    main()

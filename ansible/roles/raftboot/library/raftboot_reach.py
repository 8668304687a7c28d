#!/usr/bin/python
"""Tries whether the nodes can reach each other where they will talk, before any of them does."""

import socket
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: raftboot_reach
short_description: Whether nodes reach each other's peer port
description: >-
  Listens on the port where nothing does yet, and connects to the same port of all others. All nodes must run it at the same time.
  Leaves nothing behind.
options:
  port: {description: The peer port., type: int, default: 7443}
  peers: {description: Addresses or names of the other nodes., type: list, elements: str, required: true}
  seconds: {description: How long to try., type: int, default: 20}
author: [Raftboot]
"""

EXAMPLES = r"""
- name: Reach the other nodes
  raftboot_reach:
    peers: [10.0.20.12, 10.0.20.13]
"""

RETURN = r"""
unreached:
  description: Peers that did not answer.
  returned: always
  type: list
"""

PAUSE = 0.1
# How a node that looks is told from one that runs and looks for its member of that name.
HELLO = b"raftboot-reach"


def listener(port):
    """A listening socket, or nothing where the port is taken (by the service itself, or checked elsewhere)."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("", port))
    except OSError:
        found.close()
        return None
    found.listen(16)
    found.settimeout(PAUSE)
    return found


def accept(server, callers):
    """Takes one caller, or waits a little."""
    if server is None:
        time.sleep(PAUSE)
        return
    try:
        connection, address = server.accept()
        connection.settimeout(1)
        if connection.recv(len(HELLO)) == HELLO:
            callers.add(address[0])
        connection.close()
    except OSError:
        pass


def main():
    """Tries."""
    module = AnsibleModule(
        argument_spec={
            "port": {"type": "int", "default": 7443},
            "peers": {"type": "list", "elements": "str", "required": True},
            "seconds": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    port, peers = module.params["port"], module.params["peers"]
    server, callers, left = listener(port), set(), list(peers)
    end = time.monotonic() + module.params["seconds"]
    while time.monotonic() < end:
        for peer in list(left):
            try:
                with socket.create_connection((peer, port), timeout=1) as connection:
                    connection.sendall(HELLO)
                left.remove(peer)
            except OSError:
                pass
        # The others may still be looking for this one.
        if not left and (server is None or len(callers) >= len(peers)):
            break
        accept(server, callers)
    if server is not None:
        server.close()
    module.exit_json(changed=False, unreached=left)


if __name__ == "__main__":
    main()

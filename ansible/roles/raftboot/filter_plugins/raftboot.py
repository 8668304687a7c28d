"""What the role decides: from what it saw of the nodes to what is to be done, without asking anybody."""

import ipaddress
import json


def mistakes(nodes, vip, interface):
    """Why these nodes cannot be a cluster as described; a list of sentences, each with what to do.

    nodes: name to {now, address, witness}, of all nodes that were looked at.
    """
    found = []
    for name, node in nodes.items():
        own = node["now"]["addresses"]
        wanted = interface.get(name)
        here = [row for row in own if row["interface"] == wanted]
        if wanted and not here:
            have = ", ".join(sorted({row["interface"] for row in own if row["interface"] != "lo"})) or "none"
            found.append("%s: the interface %s is missing or has no IPv4 address (with addresses: %s); set "
                         "raftboot_interface" % (name, wanted, have))
        if here and node["address"] not in [row["address"] for row in own]:
            found.append("%s: %s is no address of this host; set raftboot_address" % (name, node["address"]))
        for row in node["now"]["foreign"]:
            found.append("%s: %s is taken by %s; stop and disable it, or see take-over-1-silent.yml"
                         % (name, row["port"], row["program"]))
        found.extend(vip_mistakes(name, node, own, here, vip))
    return found


def vip_mistakes(name, node, own, here, vip):
    """Why the VIP cannot float with this node in the cluster."""
    if not vip:
        return []
    try:
        address = ipaddress.IPv4Address(vip)
    except ValueError:
        return ["raftboot_vip: %s is no IPv4 address" % vip]
    # The one that the service has put there ends by itself; every other one would stay.
    lasting = [row["address"] for row in own if not row["finite"] or row["dynamic"]]
    if vip == node["address"] or vip in lasting:
        return ["raftboot_vip: %s is an address of %s itself, and an address that a node has for itself cannot float; give "
                "one of them another" % (vip, name)]
    networks = [ipaddress.IPv4Interface("%s/%s" % (row["address"], row["prefix"])).network
                for row in here if row["prefix"] < 32]
    if networks and not node["witness"] and not any(address in network for network in networks):
        return ["raftboot_vip: %s is not in the network of %s on %s (%s)"
                % (vip, here[0]["interface"], name, ", ".join(str(network) for network in networks))]
    return []


def hindrances(status, names, ignored=()):
    """What speaks against taking a node out of service for a moment; empty when nothing does.

    status: C(raftboot status -o json) of some node, as text or read. names: who must be a member and answer; none: all members.
    """
    status = parsed(status)
    if status is None:
        return ["no node of the cluster says how it is"]
    found = []
    if not status.get("ready"):
        found.append("the node asked is not ready")
    if (status.get("cluster") or {}).get("leader") is None:
        found.append("no node leads")
    known = [member["name"] for member in status.get("members", []) if member.get("role") != "removed"]
    for name in names or known:
        found.extend(lacks(status, name))
    vip = status.get("vip")
    if vip and vip.get("state") != "held":
        found.append("nobody holds the VIP %s (%s)" % (vip.get("address"), vip.get("state")))
    found.extend("%s: %s" % (problem["code"], problem["message"])
                 for problem in status.get("problems", []) if problem["code"] not in ignored)
    return found


def parsed(status):
    """The answer of a node, or nothing when it gave none."""
    if isinstance(status, str):
        try:
            status = json.loads(status)
        except ValueError:
            return None
    return status if isinstance(status, dict) else None


def lacks(status, name):
    """What a node lacks to count as a full member; empty when nothing."""
    member = next((row for row in status.get("members", []) if row["name"] == name and row.get("role") != "removed"), None)
    if member is None:
        return ["%s is not a member" % name]
    if member.get("role") != "voter":
        return ["%s does not vote yet" % name]
    if not member.get("reachable"):
        return ["%s does not answer" % name]
    if member.get("replicas_missing"):
        return ["%s lacks %s files" % (name, member["replicas_missing"])]
    return []


def alive(status, name):
    """Whether a voter of this name answers, whatever it lacks."""
    return any(row["name"] == name and row.get("role") == "voter" and row.get("reachable")
               for row in (parsed(status) or {}).get("members", []))


def seen(hosts, hostvars):
    """What was seen of each of these hosts; nothing of those that were not looked at."""
    return {host: dict(hostvars[host].get("raftboot_now") or {}) for host in hosts}


def founded(hosts, hostvars):
    """The hosts that were seen to belong to a cluster."""
    return [host for host, now in seen(hosts, hostvars).items() if now.get("member")]


def speakers(hosts, hostvars):
    """The hosts whose node tells how the cluster is, the ready ones first."""
    nodes = seen(hosts, hostvars)
    telling = [host for host in hosts if nodes[host].get("status")]
    return sorted(telling, key=lambda host: not nodes[host]["status"].get("ready"))


def leader(status):
    """The name of the node that leads; empty when none does."""
    number = ((status or {}).get("cluster") or {}).get("leader")
    return next((member["name"] for member in (status or {}).get("members", []) if member["id"] == number), "")


def in_order(hosts, hostvars):
    """Who is to join first, then members that follow, then the one that leads, so that nobody is moved twice.

    A node that is missing is worth more than a newer version of the others. A new cluster begins with a node that serves.
    """
    nodes = seen(hosts, hostvars)
    selves = {host: hostvars[host]["raftboot_self"] for host in hosts}
    leads = {leader(now.get("status")) for now in nodes.values()} - {""}

    def rank(host):
        if not nodes[host].get("member"):
            return 1 if selves[host]["witness"] else 0
        return 3 if selves[host]["name"] in leads else 2

    return sorted(hosts, key=rank)


def unplaced(hosts, hostvars):
    """The hosts of which no IPv4 address is known at which other nodes find them: not looked at, or known by name only."""
    def placed(host):
        try:
            return bool(ipaddress.IPv4Address((hostvars[host].get("raftboot_self") or {}).get("peer_host", "")))
        except ValueError:
            return False

    return [host for host in hosts if not placed(host)]


def outlived(hosts, hostvars):
    """Why members that stand still must not be started, as sentences; empty when they may be.

    A recovered or restored cluster is another generation. Old nodes that are enough for a quorum would be a second cluster.
    """
    nodes = seen(hosts, hostvars)
    asleep = [host for host in hosts if nodes[host].get("member") and not nodes[host]["service"]["active"]]
    if not asleep:
        return []
    clusters = [now["status"].get("cluster") or {} for now in nodes.values() if now.get("status")]
    led = [cluster.get("generation") for cluster in clusters if cluster.get("leader") is not None]
    unseen = [host for host in hosts if not nodes[host]]
    if not led and unseen:
        return ["%s stand still, none that was looked at hears a leader, and %s may have gone on without them: run the playbook when all "
                "hosts answer and without --limit, or start them by hand, systemctl start raftboot"
                % (", ".join(asleep), ", ".join(unseen))]
    known = led or [now["generation"] for now in nodes.values() if now.get("generation") is not None]
    newest = max((number for number in known if number is not None), default=None)
    return ["%s has %s, and the cluster is of generation %s: it is left behind. Wipe it: replace.yml -e raftboot_replace=%s -e raftboot_wipe=true"
            % (host, "generation %s" % nodes[host]["generation"] if nodes[host].get("generation") is not None
               else "no generation that can be read", newest, host)
            for host in asleep if newest is not None and nodes[host].get("generation") != newest]


def cut_off(hosts, hostvars):
    """Which nodes cannot reach which, as sentences."""
    return ["%s cannot reach %s." % (host, peer) for host in hosts
            for peer in (hostvars[host].get("raftboot_reached") or {}).get("unreached") or []]


def clocks_apart(samples):
    """Seconds between the clocks that differ most; a sample is {clock, asked}: theirs, and the controller's own then."""
    offsets = [sample["clock"] - sample["asked"] for sample in samples]
    return round(max(offsets) - min(offsets), 1) if offsets else 0


class FilterModule:
    """The filters by their names in templates."""

    def filters(self):
        """All of them."""
        return {
            "raftboot_mistakes": mistakes,
            "raftboot_hindrances": hindrances,
            "raftboot_lacks": lacks,
            "raftboot_founded": founded,
            "raftboot_speakers": speakers,
            "raftboot_leader": leader,
            "raftboot_in_order": in_order,
            "raftboot_alive": alive,
            "raftboot_unplaced": unplaced,
            "raftboot_outlived": outlived,
            "raftboot_cut_off": cut_off,
            "raftboot_clocks_apart": clocks_apart,
        }

"""What the filters and modules decide, without any host: python3 -m unittest discover -s tests"""

import importlib.util
import pathlib
import sys
import tempfile
import types
import unittest

ROLE = pathlib.Path(__file__).resolve().parent.parent / "roles" / "raftboot"


def load(path):
    """A file of the role as a Python module, with Ansible's own part left out."""
    for name in ("ansible", "ansible.module_utils", "ansible.module_utils.basic"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["ansible.module_utils.basic"].AnsibleModule = object
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


decide = load(ROLE / "filter_plugins" / "raftboot.py")
settings = load(ROLE / "library" / "raftboot_settings.py")
facts = load(ROLE / "library" / "raftboot_facts.py")
# What the product's own tests hold to be an identity, as it is on disks: of generation 2.
IDENTITY = ROLE.parent.parent.parent / "raft" / "tests" / "golden" / "identity.hex"


def address(text, interface="eth0", prefix=24, finite=False, dynamic=False):
    return {"interface": interface, "address": text, "prefix": prefix, "finite": finite, "dynamic": dynamic}


def node(text, *others, witness=False, foreign=()):
    return {"now": {"addresses": [address(text), *others], "foreign": list(foreign)}, "address": text, "witness": witness}


def status(*members, leader=1, vip="held", problems=()):
    rows = [{"id": number, "name": name, "role": "voter", "reachable": True, "replicas_missing": 0}
            for number, name in enumerate(members, 1)]
    return {"ready": True, "cluster": {"leader": leader}, "members": rows, "problems": list(problems),
            "vip": vip and {"address": "10.0.20.5", "state": vip}}


class Mistakes(unittest.TestCase):
    def found(self, nodes, vip="10.0.20.5", interface="eth0"):
        return decide.mistakes(nodes, vip, {name: interface for name in nodes})

    def test_a_site_without_mistakes(self):
        self.assertEqual(self.found({"a": node("10.0.20.11"), "b": node("10.0.20.12")}), [])
        self.assertEqual(self.found({"a": node("10.0.20.11")}, vip=""), [])

    def test_the_holder_has_the_vip_for_a_while_and_that_is_right(self):
        held = address("10.0.20.5", prefix=32, finite=True)
        self.assertEqual(self.found({"a": node("10.0.20.11", held)}), [])

    def test_an_address_of_a_node_is_no_vip(self):
        for own in ("10.0.20.5", "10.0.20.6"):
            nodes = {"a": node(own, address("10.0.20.5"))}
            self.assertIn("is an address of a itself", self.found(nodes)[0])
        # Given by DHCP: for a while too, and yet the node's own.
        leased = {"a": node("10.0.20.11", address("10.0.20.5", finite=True, dynamic=True))}
        self.assertIn("is an address of a itself", self.found(leased)[0])

    def test_a_vip_of_another_network(self):
        self.assertIn("not in the network of eth0", self.found({"a": node("10.0.21.11")})[0])
        self.assertEqual(self.found({"a": node("10.0.21.11", witness=True)}), [])
        self.assertIn("no IPv4 address", self.found({"a": node("10.0.20.11")}, vip="boot.example")[0])

    def test_an_interface_that_is_not_there(self):
        self.assertIn("the interface eth9 is missing", self.found({"a": node("10.0.20.11")}, interface="eth9")[0])

    def test_a_port_that_somebody_has(self):
        taken = node("10.0.20.11", foreign=[{"port": "udp/67", "program": "dnsmasq"}])
        self.assertIn("udp/67 is taken by dnsmasq", self.found({"a": taken})[0])


class Hindrances(unittest.TestCase):
    def test_a_whole_cluster(self):
        self.assertEqual(decide.hindrances(status("a", "b", "c"), []), [])
        self.assertEqual(decide.hindrances(status("a", vip=None), ["a"]), [])

    def test_everything_that_speaks_against_a_restart(self):
        self.assertEqual(len(decide.hindrances("", [])), 1)
        self.assertEqual(decide.hindrances(status("a", "b"), ["a", "c"]), ["c is not a member"])
        self.assertIn("no node leads", decide.hindrances(status("a", leader=None), []))
        self.assertIn("nobody holds the VIP 10.0.20.5 (released)", decide.hindrances(status("a", vip="released"), []))
        for key, value, text in (("reachable", False, "does not answer"), ("role", "learner", "does not vote yet"),
                                 ("replicas_missing", 2, "lacks 2 files")):
            picture = status("a", "b")
            picture["members"][1][key] = value
            self.assertIn("b " + text, decide.hindrances(picture, []))

    def test_problems_count_unless_they_are_accepted(self):
        picture = status("a", "b", problems=[{"code": "two_nodes", "message": "none may fail"}])
        self.assertEqual(decide.hindrances(picture, []), ["two_nodes: none may fail"])
        self.assertEqual(decide.hindrances(picture, [], ["two_nodes"]), [])

    def test_who_is_gone_for_good_is_not_missed(self):
        picture = status("a", "b")
        picture["members"][1].update(role="removed", reachable=False)
        self.assertEqual(decide.hindrances(picture, []), [])


class Order(unittest.TestCase):
    def hosts(self, **nodes):
        return {name: {"raftboot_self": {"name": name, "witness": name == "w"}, "raftboot_now": now}
                for name, now in nodes.items()}

    def order(self, hosts):
        return decide.in_order(list(hosts), hosts)

    def test_a_new_cluster_begins_with_a_node_that_serves(self):
        new = {"member": False, "status": None}
        self.assertEqual(self.order(self.hosts(w=new, a=new, b=new)), ["a", "b", "w"])

    def test_who_leads_is_last_and_who_is_missing_first(self):
        seen = status("a", "b", "c", leader=1)
        hosts = self.hosts(a={"member": True, "status": seen}, b={"member": True, "status": seen},
                           c={"member": False, "status": None})
        self.assertEqual(self.order(hosts), ["c", "b", "a"])

    def test_who_tells_how_the_cluster_is(self):
        unready = dict(status("a", "b"), ready=False)
        hosts = self.hosts(a={"status": unready}, b={"status": status("a", "b")}, c={"status": None})
        hosts["d"] = {}
        self.assertEqual(decide.speakers(list(hosts), hosts), ["b", "a"])
        self.assertEqual(decide.founded(["d"], hosts), [])
        self.assertEqual(decide.founded(["e"], {"e": {"raftboot_now": {"member": True}}}), ["e"])


class Replace(unittest.TestCase):
    def test_a_voter_that_answers_lives_whatever_it_lacks(self):
        picture = status("a", "b")
        picture["members"][1]["replicas_missing"] = 2
        self.assertTrue(decide.alive(picture, "b"))
        picture["members"][1]["reachable"] = False
        self.assertFalse(decide.alive(picture, "b"))
        self.assertFalse(decide.alive(picture, "c"))
        self.assertFalse(decide.alive("", "a"))


class Firewall(unittest.TestCase):
    def test_whose_address_is_not_known(self):
        hosts = {"a": {"raftboot_self": {"peer_host": "10.0.20.11"}}, "b": {}, "c": {"raftboot_self": {"peer_host": "mgmt-03"}}}
        self.assertEqual(decide.unplaced(list(hosts), hosts), ["b", "c"])
        self.assertEqual(decide.unplaced(["a"], hosts), [])


class Asleep(unittest.TestCase):
    def found(self, **nodes):
        hosts = {name: {"raftboot_now": now} if now else {} for name, now in nodes.items()}
        return decide.outlived(list(hosts), hosts)

    def runs(self, generation, leader=1):
        picture = {"cluster": {"leader": leader, "generation": generation}}
        return {"member": True, "service": {"active": True}, "generation": generation, "status": picture}

    def sleeps(self, generation):
        return {"member": True, "service": {"active": False}, "generation": generation, "status": None}

    def test_who_is_of_the_cluster_is_woken(self):
        self.assertEqual(self.found(a=self.runs(2), b=self.sleeps(2), c=None), [])
        self.assertEqual(self.found(a=self.sleeps(1), b=self.sleeps(1)), [])
        self.assertEqual(self.found(a=self.runs(1, leader=None), b=self.sleeps(1)), [])
        self.assertEqual(self.found(a=self.runs(1), b=None, c={"member": False, "service": {"active": False}}), [])

    def test_who_was_left_behind_is_not(self):
        found = self.found(a=self.runs(1000000007), b=self.sleeps(1), c=self.sleeps(1000000007))
        self.assertEqual(len(found), 1)
        self.assertIn("b has generation 1", found[0])
        self.assertIn("raftboot_replace=b", found[0])
        # None of them runs: the newest counts.
        self.assertEqual(len(self.found(a=self.sleeps(1000000007), b=self.sleeps(1), c=self.sleeps(1))), 2)
        self.assertIn("can be read", self.found(a=self.runs(1), b=self.sleeps(None))[0])

    def test_without_a_leader_all_must_have_been_looked_at(self):
        self.assertIn("b may have gone on", self.found(a=self.sleeps(1), b=None)[0])

    def test_the_generation_on_a_disk(self):
        with tempfile.TemporaryDirectory() as directory:
            self.assertIsNone(facts.generation(directory))
            file = pathlib.Path(directory) / "raft" / "identity"
            file.parent.mkdir()
            file.write_bytes(bytes.fromhex(IDENTITY.read_text()))
            self.assertEqual(facts.generation(directory), 2)
            file.write_bytes(b"x" * 48)
            self.assertIsNone(facts.generation(directory))


class Reach(unittest.TestCase):
    def test_who_does_not_reach_whom(self):
        hosts = {"a": {"raftboot_reached": {"unreached": ["10.0.20.12"]}}, "b": {"raftboot_reached": {"skipped": True}}, "c": {}}
        self.assertEqual(decide.cut_off(list(hosts), hosts), ["a cannot reach 10.0.20.12."])


class Clocks(unittest.TestCase):
    def test_only_the_difference_between_nodes_counts(self):
        self.assertEqual(decide.clocks_apart([{"clock": 1100, "asked": 100}, {"clock": 1103.5, "asked": 101}]), 2.5)
        self.assertEqual(decide.clocks_apart([]), 0)


class Settings(unittest.TestCase):
    def changes(self, wanted, present, members=()):
        return settings.differences(wanted, settings.flat(present), members)

    def test_what_is_as_wanted_is_left_alone(self):
        present = {"vip": None, "dns_names": [], "two_node": "none", "preferred": None}
        self.assertEqual(self.changes({"two_node": "none", "dns_names": []}, present), {})
        self.assertEqual(self.changes({"vip": "10.0.20.5", "dns_names": ["a", "b"]}, present),
                         {"vip": "10.0.20.5", "dns_names": "a,b"})

    def test_a_preferred_node_is_known_by_name_and_id(self):
        members = [{"id": 7, "name": "a"}]
        self.assertEqual(self.changes({"preferred": "a"}, {"preferred": 7}, members), {})
        self.assertEqual(self.changes({"preferred": "b"}, {"preferred": 7}, members), {"preferred": "b"})

    def test_shared_settings(self):
        present = {"dhcp_mode": "proxy", "extra_kernel_args": ["quiet"], "loaders": {"bios": "undionly.kpxe"}}
        self.assertEqual(self.changes({"loaders": {"bios": "undionly.kpxe"}, "extra_kernel_args": ["quiet"]}, present), {})
        self.assertEqual(self.changes({"loaders": {"bios": None}, "extra_kernel_args": ["a", "b"]}, present),
                         {"loaders.bios": "", "extra_kernel_args": "a b"})


if __name__ == "__main__":
    unittest.main()

"""A node's namespaces and the way to the machine, made and removed with the real programs.

In namespaces that stand for a machine. That pods reach what they need is for the tests on a real
cluster (`tests/cluster/on_own_machine/test_machine.py`).
"""

import os
import shutil
import subprocess
import sys

import pytest

from local.home import REPOSITORY

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "iptables", "nsenter"))),
    reason="needs root, iproute2, nftables and iptables",
)

BEFORE = """
import os, pathlib, signal, subprocess, sys
from local.machine.checks import MachineError
from local.machine.firewall import Firewall
from local.machine.namespaces import INSIDE, Namespaces
from local.machine.network import NodeNetwork
from local.machine.ranges import Ranges

folder = pathlib.Path(sys.argv[1])
ranges = Ranges.parse("10.64.0.0/14")

def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout

def conf(name, value=None):
    path = pathlib.Path("/proc/sys/net/ipv4", name)
    return path.read_text().strip() if value is None else path.write_text(value)

def node(name):
    home = folder / name
    (home / "platform").mkdir(parents=True, exist_ok=True)
    (home / "platform" / "resolv.conf").touch()
    return Namespaces(home / "platform", home, {"kernel/panic": "77", "no/such/setting": "1"})

run("ip", "link", "set", "lo", "up")
"""

CODES = {
    "what_is_made_is_removed": """
run("iptables", "-P", "FORWARD", "DROP")
run("iptables", "-A", "INPUT", "-j", "REJECT")
for name in ("ip_forward", "conf/all/accept_redirects"):
    conf(name, "0")

def state():
    return [
        run("nft", "list", "ruleset"),
        run("ip", "-brief", "address"), run("ip", "route"),
        conf("ip_forward"), conf("conf/all/accept_redirects"), conf("conf/lo/forwarding"),
    ]

before = state()
one, two = node("one"), node("two")
networks = [NodeNetwork(f"dlstack-{n}", r, folder / "record") for n, r in (
    ("11111", ranges), ("22222", Ranges.parse("10.68.0.0/14")))]
for namespaces, network in zip((one, two), networks):
    namespaces.start()
    for _ in range(2):
        network.connect(namespaces.enter(), namespaces.member(), 1053)
assert conf("ip_forward") == "1"
accepted = run("iptables", "-S")
assert accepted.count("-i dlstack-11111") == 2 and accepted.count("-o dlstack-22222") == 1
one.end()
networks[0].disconnect()
assert conf("ip_forward") == "1", "the other still needs it"
assert "dlstack-22222" in run("nft", "list", "ruleset")
two.end()
networks[1].disconnect()
networks[1].disconnect()
assert state() == before, (state(), before)
""",
    "two_with_the_same_addresses_are_refused": """
one, two = node("one"), node("two")
networks = [NodeNetwork(f"dlstack-{n}", ranges, folder / "record") for n in ("11111", "22222")]
for namespaces, network in zip((one, two), networks):
    namespaces.start()
networks[0].connect(one.enter(), one.member(), None)
networks[0].connect(one.enter(), one.member(), None)
try:
    networks[1].connect(two.enter(), two.member(), None)
except MachineError as error:
    assert "dlstack-11111, of another cluster, has addresses in 10.64.0.0/14" in str(error)
else:
    raise AssertionError("taken")
assert "dlstack-22222" not in run("ip", "link")
for namespaces, network in zip((one, two), networks):
    namespaces.end()
    network.disconnect()
""",
    "who_came_meanwhile_keeps_forwarding": """
conf("ip_forward", "0")
one = node("one")
network = NodeNetwork("dlstack-11111", ranges, folder / "record")
for comes in (False, True):
    one.start()
    network.connect(one.enter(), one.member(), None)
    if comes:
        run("ip", "link", "add", "docker0", "type", "bridge")
    one.end()
    network.disconnect()
    assert conf("ip_forward") == ("1" if comes else "0")
    assert not (folder / "record").exists()
""",
    "more_nodes_reach_each_other_until_one_is_cut_off": """
nodes = [node(name) for name in ("one", "two", "three")]
networks = [NodeNetwork("dlstack-11111", ranges, folder / "record", n) for n in (1, 2, 3)]
first = nodes[0]
for namespaces in nodes:
    namespaces.start()
networks[0].connect(first.enter(), first.member(), None)
for _ in range(2):
    for namespaces, network in zip(nodes[1:], networks[1:]):
        network.connect_another(namespaces.enter(), namespaces.member(), None, first.enter())
for number, namespaces in enumerate(nodes, 1):
    pod = str(ranges.pods_of(number)[2])
    run(*namespaces.enter(), "ip", "address", "add", f"{pod}/32", "dev", "lo")

def reaches(number, other):
    pod, own = ranges.pods_of(other)[2], ranges.pods_of(number)[2]
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 80), 1, (sys.argv[2], 0))"
    words = [*nodes[number - 1].enter(), sys.executable, "-c", connect, str(pod), str(own)]
    # Nobody listens: who is reached refuses.
    return "ConnectionRefusedError" in subprocess.run(words, capture_output=True, text=True).stderr

# A device that has just come up may drop what is sent in its first second.
for pair in [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b]:
    while not reaches(*pair):
        pass
networks[1].cut()
assert not reaches(1, 2) and not reaches(2, 3) and reaches(1, 3)
networks[1].join()
while not reaches(1, 2):
    pass
nodes[1].end()
networks[1].unplug()
networks[1].unplug()
assert "dlstack-11111-2" not in run("ip", "link") and reaches(3, 1)
for namespaces in nodes:
    namespaces.end()
networks[0].disconnect()
assert "dlstack-11111" not in run("ip", "link")
""",
    "connections_of_pods_wait_for_who_decides_and_others_pass": """
one = node("one")
one.start()
network = NodeNetwork("dlstack-11111", ranges, folder / "record")
network.connect(one.enter(), one.member(), None)
mangle = [*one.enter(), "iptables", "-t", "mangle", "-S"]
before = run(*mangle)
for _ in range(2):
    network.queue_connections(one.enter())
assert run(*mangle).count("-j DLSTACK-POLICIES") == 1
assert run(*mangle).count("NFQUEUE --queue-num 100") == 2
assert not network.are_decided(one.enter())
# Once more, as in a node that was stopped meanwhile: symptom, it could not become the only one.
for _ in range(2):
    network.pass_connections(one.enter())
    assert run(*mangle) == before, run(*mangle)
one.end()
network.disconnect()
""",
    "a_killed_holder_comes_back_to_the_others": """
one = node("one")
one.start()
other = subprocess.Popen([*one.enter(), "sleep", "1000"])
while other.pid not in one.members():
    pass
os.kill(one._holder.pid(), signal.SIGKILL)
while len(one.members()) > 1:
    pass
assert not one.are_former()
one.start()
assert one._holder.pid() in one.members() and other.pid in one.members()
assert os.readlink(f"/proc/{other.pid}/ns/net") == os.readlink(f"/proc/{one._holder.pid()}/ns/net")
one.end()
assert other.wait() == -signal.SIGKILL
assert one.members() == []
""",
    "they_hide_what_is_not_the_node_s": """
run("mount", "-t", "tmpfs", "x", "/run")
run("ip", "netns", "add", "others")
one = node("one")
one.start()
inside = lambda *words: run(*one.enter(), *words)
assert inside("pwd").strip() == str(INSIDE)
assert inside("ip", "netns", "list") == ""
assert "others" not in inside("cat", "/proc/mounts")
assert inside("cat", "/proc/sys/kernel/panic").strip() == "77"
assert pathlib.Path("/proc/sys/kernel/panic").read_text().strip() != "77"
inside("ip", "netns", "add", "mine")
assert run("ip", "netns", "list").split()[0] == "others"
one.end()
""",
    "other_settings_are_other_namespaces": """
one = node("one")
one.start()
assert not one.are_former()
assert Namespaces(one.folder, one.home, {"kernel/panic": "78"}).are_former()
one.end()
assert not one.are_former()
""",
    "a_home_below_run_is_seen": """
run("mount", "-t", "tmpfs", "x", "/run")
folder = pathlib.Path("/run/media/a disk")
one = node("one")
(one.home / "program").write_text("x")
one.start()
assert run(*one.enter(), "cat", one.home / "program") == "x"
one.end()
""",
}


@pytest.mark.parametrize("code", CODES)
def test_in_namespaces_that_stand_for_a_machine(code, tmp_path):
    """Each of CODES says by its name what holds."""
    unshare = ("unshare", "--mount", "--net", "--propagation", "private")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", BEFORE + CODES[code], tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

"""What is left of a firewall. That all is undone is for the tests on a real cluster."""

import os
import shutil
import subprocess
import sys

import pytest

from local.home import REPOSITORY
from local.machine.former_network import without_ours

OURS = r"""
*filter
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
-A FORWARD -s 10.78.0.0/16 -m comment --comment dlstack0 -j ACCEPT
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
:CNI-0123 - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -s 10.78.0.2/32 -m comment --comment "name: \"dlstack\" id: \"5\"" -j CNI-0123
-A KUBE-SERVICES -d 10.79.0.1/32 -j KUBE-SVC-A
-A CNI-0123 -d 10.78.0.0/16 -m comment --comment "name: \"dlstack\" id: \"5\"" -j ACCEPT
COMMIT
"""
OTHERS = r"""
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -s 172.17.0.0/16 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-abcd - [0:0]
:DOCKER - [0:0]
-A PREROUTING -j DOCKER
-A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \"podman\" id: \"7\"" -j CNI-abcd
-A DOCKER -d 172.17.0.2/32 -j ACCEPT
-A CNI-abcd -d 10.88.0.0/16 -m comment --comment "name: \"podman\" id: \"7\"" -j ACCEPT
COMMIT
"""


IN_A_NAMESPACE = """
import subprocess, sys
from local.machine.former_network import without_ours

def load(rules):
    subprocess.run(["iptables-restore", "--noflush"], input=rules, text=True, check=True)

def saved():
    text = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return [line.partition(" [")[0] for line in text.splitlines() if not line.startswith("#")]

load(sys.argv[1])
before = saved()
load(sys.argv[2])
assert saved() != before
text = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
load(without_ours(text))
assert saved() == before, saved()
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("iptables") is None, reason="needs root and iptables"
)
def test_only_our_part_of_a_firewall_is_removed():
    """With the real programs, in a network namespace of its own."""
    subprocess.run(
        ["unshare", "--net", sys.executable, "-c", IN_A_NAMESPACE, OTHERS, OURS],
        cwd=REPOSITORY,
        check=True,
    )


def test_a_firewall_without_our_part_is_left_alone():
    assert without_ours(OTHERS) == ""

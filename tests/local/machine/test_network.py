"""What is left of a firewall. That all is undone is for the tests on a real cluster."""

from local.machine.network import without_ours

RULES = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:CNI-0123 - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A KUBE-SERVICES -d 10.79.0.1/32 -j KUBE-SVC-A
-A POSTROUTING -s 10.78.0.2/32 -j CNI-0123
-A FORWARD -s 10.78.0.0/16 -m comment --comment dlstack0 -j ACCEPT
COMMIT
"""


def test_only_our_firewall_rules_are_removed():
    assert without_ours(RULES) == (
        "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n"
    )

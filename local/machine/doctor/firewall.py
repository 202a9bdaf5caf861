"""What the machine's firewall would refuse; `make up` lets the cluster's bridge pass."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from .facts import Machine
from .finding import Finding, ok

_HOOKS = ("input", "output", "forward")


def examine(machine: Machine) -> Iterator[Finding]:
    if not machine.is_root:
        return
    managers = list(_managers(machine))
    by = f" ({', '.join(managers)})" if managers else ""
    if chains := refusing(machine):
        shown = ", ".join(chains)
        yield ok("firewall", f"refuses in {shown}{by}; `make up` lets the cluster's bridge pass")
    else:
        yield ok("firewall", f"refuses nothing{by}")


def refusing(machine: Machine) -> list[str]:
    """Which of INPUT, OUTPUT and FORWARD drop or reject something."""
    return sorted({*_of_nftables(machine), *_of_iptables(machine)})


def _managers(machine: Machine) -> Iterator[str]:
    if re.search(r"^ENABLED=yes", machine.text("/etc/ufw/ufw.conf"), re.MULTILINE):
        yield "ufw"
    if machine.exists("/run/firewalld") or machine.exists("/var/run/firewalld.pid"):
        yield "firewalld"


def _refusing_chains(rules: str) -> set[str]:
    """Chains of the filter table that drop or reject, as iptables-save prints a firewall."""
    filtering = next((t for t in rules.split("\n*") if t.lstrip("*").startswith("filter\n")), "")
    if rules.startswith("*filter\n") and not filtering:
        filtering = rules
    policies = re.findall(r"^:(INPUT|OUTPUT|FORWARD) DROP", filtering, re.MULTILINE)
    told = re.findall(r"^-A (\S+) .*-j (?:REJECT|DROP)\b", filtering, re.MULTILINE)
    led = dict.fromkeys(told)
    # A chain that refuses may be reached by way of others, as ufw's are.
    while True:
        more = re.findall(r"^-A (\S+) .*-j (\S+)", filtering, re.MULTILINE)
        new = {source for source, target in more if target in led and source not in led}
        if not new:
            break
        led.update(dict.fromkeys(new))
    return {*policies, *(chain for chain in led if chain in ("INPUT", "OUTPUT", "FORWARD"))}


def _of_iptables(machine: Machine) -> set[str]:
    found = set()
    for program in ("iptables-save", "iptables-legacy-save"):
        status, said = machine.run([program, "-t", "filter"])
        if status == 0:
            found |= _refusing_chains("\n" + said)
    return found


def _of_nftables(machine: Machine) -> set[str]:
    """Chains that refuse, as nftables knows them, also those that iptables does not show."""
    status, said = machine.run(["nft", "--json", "list", "ruleset"])
    try:
        listed = json.loads(said)["nftables"] if status == 0 else []
    except (ValueError, KeyError):
        return set()
    hooked = {
        (item["chain"]["table"], item["chain"]["name"]): item["chain"]
        for item in listed
        if item.get("chain", {}).get("hook") in _HOOKS
        and item["chain"].get("type") == "filter"
        and not item["chain"]["table"].startswith("dlstack-")
    }
    found = {chain["hook"].upper() for chain in hooked.values() if chain.get("policy") == "drop"}
    for item in listed:
        rule = item.get("rule", {})
        chain = hooked.get((rule.get("table"), rule.get("chain")))
        if chain and any("reject" in word or "drop" in word for word in rule.get("expr", ())):
            found.add(chain["hook"].upper())
    return found

"""The node's part of this machine's firewall, set with nftables.

What is ours alone has a table of ours. It can refuse, and it translates addresses. But it can't
accept what another table refuses, so an accepting rule with our comment comes first in each chain
of others that looks at what comes in, goes out or passes through.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from .processes import run

_HOOKS = {"input": ("iifname",), "output": ("oifname",), "forward": ("iifname", "oifname")}
_LEGACY = {"INPUT": ("-i",), "OUTPUT": ("-o",), "FORWARD": ("-i", "-o")}
_ZONE = "--zone=trusted"


@dataclass(frozen=True)
class Firewall:
    """Lets a bridge's traffic pass; nobody else reaches what is behind it."""

    bridge: str
    """Name of the bridge, of our table and in the comments of our rules."""

    def open(self, range: IPv4Network) -> None:
        """Make our rules anew: those of another firewall may have come since.

        Args:
            range: of the bridge.

        Raises:
            MachineError: the machine refuses.
        """
        bridge = f'"{self.bridge}"'
        ours = f"""
table ip {self.bridge} {{}}
delete table ip {self.bridge}
table ip {self.bridge} {{
    chain leaving {{
        type nat hook postrouting priority srcnat
        ip saddr {range} oifname != {bridge} masquerade
    }}
    chain forward {{
        type filter hook forward priority filter - 1
        iifname != {bridge} oifname {bridge} ct state != {{ established, related }} drop
    }}
    chain input {{
        type filter hook input priority filter - 1
        iifname != {{ {bridge}, "lo" }} ip daddr {range} drop
    }}
}}
"""
        removed = [_delete(rule) for rule in self._rules()]
        added = [
            f"insert rule {_place(chain)} {side} {bridge} accept comment {bridge}"
            for chain in self._chains_of_others()
            for side in _HOOKS[chain["hook"]]
        ]
        _nft(ours + "\n".join((*removed, *added)))
        self._close_legacy()
        for chain, sides in _LEGACY.items() if _has_legacy() else ():
            for side in sides:
                run(_legacy(), "--wait", "--insert", chain, *self._legacy_rule(side))
        if _firewalld("--state"):
            _firewalld(_ZONE, f"--add-interface={self.bridge}")

    def close(self) -> None:
        """Remove all that `open` made.

        Raises:
            MachineError: the machine refuses.
        """
        removed = [_delete(rule) for rule in self._rules()]
        _nft(f"table ip {self.bridge} {{}}\ndelete table ip {self.bridge}\n" + "\n".join(removed))
        self._close_legacy()
        if _firewalld(_ZONE, f"--query-interface={self.bridge}"):
            _firewalld(_ZONE, f"--remove-interface={self.bridge}")

    def _rules(self) -> Iterator[dict[str, Any]]:
        """Our rules in chains of others."""
        for item in _listed("ruleset"):
            if item.get("rule", {}).get("comment") == self.bridge:
                yield item["rule"]

    def _chains_of_others(self) -> Iterator[dict[str, Any]]:
        for item in _listed("chains"):
            chain = item.get("chain", {})
            if (
                chain.get("family") in ("ip", "inet")
                and chain.get("type") == "filter"
                and chain.get("hook") in _HOOKS
                and chain["table"] != self.bridge
                # It owns its table, and has words of its own for this.
                and chain["table"] != "firewalld"
            ):
                yield chain

    def _legacy_rule(self, side: str) -> list[str]:
        return [side, self.bridge, "-m", "comment", "--comment", self.bridge, "-j", "ACCEPT"]

    def _close_legacy(self) -> None:
        for chain, sides in _LEGACY.items() if _has_legacy() else ():
            for side in sides:
                words = (_legacy(), "--wait", "--delete", chain, *self._legacy_rule(side))
                while subprocess.run(words, capture_output=True).returncode == 0:
                    pass


def _place(item: dict[str, Any]) -> str:
    return f"{item['family']} {item['table']} {item.get('chain') or item['name']}"


def _delete(rule: dict[str, Any]) -> str:
    return f"delete rule {_place(rule)} handle {rule['handle']}"


def _listed(what: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(run("nft", "--json", "--handle", "list", what))[
        "nftables"
    ]
    return listed


def _nft(commands: str) -> None:
    """Run commands as one transaction."""
    run("nft", "--file", "-", given=commands)


def _has_legacy() -> bool:
    """Whether rules of the kernel's former firewall, beside nftables, filter this machine."""
    try:
        return "filter" in Path("/proc/net/ip_tables_names").read_text().split()
    except OSError:
        return False


def _legacy() -> str:
    return shutil.which("iptables-legacy") or "iptables"


def _firewalld(*words: str) -> bool:
    """Run firewalld's client; false where firewalld is not, or doesn't run, or says no."""
    client = shutil.which("firewall-cmd")
    return (
        client is not None
        and not subprocess.run([client, "--quiet", *words], capture_output=True).returncode
    )

"""A second cluster of this machine, for tests that end processes or nodes which others need."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

from local.__main__ import Platform
from local.home import REPOSITORY, Home

_FOLDER = "second"
_NODE_PORTS = "28000-29999"
_FURTHER = 100 << 16
"""Its addresses from those of the first: 10.176/14 beside 10.76/14."""


def home_beside(home: Home) -> Home:
    """Where it is."""
    return Home(home.root / _FOLDER)


@contextmanager
def second_cluster(first: Platform, **variables: str) -> Iterator[Platform]:
    """Have this process, and what it starts, see it in the place of the first; it is stopped then.

    Args:
        first: is up, so everything is built.
        variables: for `up`.
    """
    home = home_beside(first.home)
    home.root.mkdir(mode=0o711, exist_ok=True)
    if not home.cache.is_symlink():
        home.cache.symlink_to(first.home.cache)
    before = dict(os.environ)
    # That of the first, after `eval "$(make env)"`.
    os.environ.pop("KUBECONFIG", None)
    os.environ |= {
        "DLSTACK_HOME": str(home.root),
        "DLSTACK_NETWORK": str(_beside(first.cluster.ranges.all)),
        "DLSTACK_NODE_PORTS": _NODE_PORTS,
    }
    try:
        platform = Platform()
        platform.pass_by_proxies()
        local("up", **variables)
        yield platform
    finally:
        local("stop")
        os.environ.clear()
        os.environ |= before


def _beside(network: IPv4Network) -> IPv4Network:
    further = network.network_address + _FURTHER
    whole = IPv4Network("10.0.0.0/8")
    if further not in whole:
        further = network.network_address - _FURTHER
    return IPv4Network((further if further in whole else "10.176.0.0", network.prefixlen))


def local(*words: str, **variables: str) -> None:
    """Run `python -m local WORDS`, which has to succeed."""
    command = [sys.executable, "-m", "local", *words]
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **variables}, check=True)

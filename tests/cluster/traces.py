"""A machine as it is at a moment: whatever a cluster could change in it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("/etc", "/opt", "/run", "/var/lib", "/var/log", "/usr/libexec", "/usr/sbin")
"""Where programs leave files."""
OF_OTHERS = "/run/containerd-of-images"
"""Where a test in another process has a containerd for some seconds; a cluster has its own inside
of its namespaces."""
# Counters, and what every process changes by running.
VOLATILE = re.compile(
    r"/fs/|random/|ns_last_pid|pty/nr|conntrack_count|inotify|lock_count"
    r"|sched_domain|key-users|netns_ids|flush|tcp_fastopen_key|stable_secret|overflow|cad_pid"
    # The kernel lowers it by itself where an interrupt took long.
    r"|perf_event_max_sample_rate"
)


def snapshot(cluster: str) -> dict[str, list[str]]:
    """What a machine's parts are like, one line each.

    Args:
        cluster: its name among the control groups: those of others come and go.
    """
    return {
        "kernel settings": list(_settings()),
        "firewall": _output("nft", "list", "ruleset"),
        "iptables": _without_counters("iptables-save") + _without_counters("ip6tables-save"),
        "legacy iptables": _without_counters("iptables-legacy-save"),
        "interfaces": _output("ip", "-brief", "link"),
        "addresses": _output("ip", "-brief", "address"),
        "routes": _output("ip", "route", "show", "table", "all"),
        "rules": _output("ip", "rule"),
        "named namespaces": _output("ip", "netns", "list"),
        "mounts": Path("/proc/self/mounts").read_text().splitlines(),
        "control groups": _control_groups(cluster),
        "modules": sorted(_modules()),
        "files": _files(),
    }


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """What has come (+) and what has gone (-)."""
    found = []
    for part, lines in before.items():
        was, now = set(lines), set(after[part])
        found += [f"- {part}: {line}" for line in lines if line not in now]
        found += [f"+ {part}: {line}" for line in after[part] if line not in was]
    return found


def _output(*words: str) -> list[str]:
    if shutil.which(words[0]) is None:
        return []
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def _without_counters(program: str) -> list[str]:
    return [line.partition(" [")[0] for line in _output(program) if not line.startswith("#")]


def _settings() -> Iterator[str]:
    for folder, _, names in os.walk("/proc/sys"):
        for name in names:
            path = Path(folder, name)
            if not VOLATILE.search(str(path)):
                try:
                    yield f"{path}: {path.read_text()}"
                except (OSError, UnicodeDecodeError):
                    continue


def _control_groups(name: str) -> list[str]:
    # Those of others' pods go while one looks: `Path.glob` raises FileNotFoundError then.
    return [
        os.path.join(folder, name)
        for folder, folders, _ in os.walk("/sys/fs/cgroup")
        if name in folders
    ]


def _modules() -> list[str]:
    try:
        return [line.split()[0] for line in Path("/proc/modules").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _files() -> list[str]:
    return [
        os.path.join(folder, name)
        for root in FOLDERS
        for folder, folders, names in os.walk(root)
        if not folder.startswith(OF_OTHERS)
        for name in (*folders, *names)
        if os.path.join(folder, name) != OF_OTHERS
    ]


if __name__ == "__main__":
    print(json.dumps(snapshot(sys.argv[1])))

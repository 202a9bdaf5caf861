"""Machines of other kinds, by what their files and programs say.

`DEBIAN` is a Debian 12 with systemd, as a cloud's image; the others are told by how they differ.
What ufw and firewalld make of a firewall was captured of the real ones (`captured/`).
"""

import dataclasses
import os
from ipaddress import IPv4Network
from pathlib import Path

from local.machine.doctor.facts import Machine, Needs

CAPTURED = Path(__file__).parent / "captured"
NOW = 1_800_000_000.0
RELEASE = "6.1.0-37-amd64"
GIB = 2**30

DEBIAN = {
    "/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
    "/etc/resolv.conf": "nameserver 192.0.2.53\n",
    "/proc/version": f"Linux version {RELEASE} (debian-kernel@lists.debian.org)\n",
    "/proc/self/status": "Name:\tpython3\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n",
    "/proc/self/uid_map": "         0          0 4294967295\n",
    "/proc/self/mountinfo": "27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard\n",
    **{f"/proc/self/ns/{name}": "" for name in ("mnt", "net", "pid", "ipc", "uts", "cgroup")},
    "/proc/meminfo": "MemTotal:       16384000 kB\nMemAvailable:   12000000 kB\n",
    "/proc/loadavg": "0.10 0.20 0.30 1/250 4711\n",
    "/proc/filesystems": "nodev\tsysfs\n\text4\n",
    "/proc/modules": "virtio_net 65536 0 - Live 0x0000000000000000\n",
    "/proc/net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\t"
    "Window\tIRTT\n"
    "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
    "/proc/net/tcp": "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
    "retrnsmt   uid  timeout inode\n",
    "/proc/sys/net/ipv4/ip_forward": "0\n",
    "/proc/sys/net/ipv6/conf/all/disable_ipv6": "0\n",
    "/proc/sys/fs/inotify/max_user_instances": "1024\n",
    "/proc/sys/fs/inotify/max_user_watches": "524288\n",
    "/proc/sys/fs/file-nr": "1500\t0\t9223372036854775807\n",
    "/proc/sys/kernel/pid_max": "4194304\n",
    "/proc/sys/kernel/threads-max": "127000\n",
    "/sys/devices/system/cpu/online": "0-3\n",
    "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
    "/sys/fs/cgroup/cgroup.subtree_control": "cpu memory pids\n",
    "/sys/fs/cgroup/cgroup.procs": "2\n",
    f"/lib/modules/{RELEASE}/modules.dep": "".join(
        f"kernel/{name}.ko:\n"
        for name in (
            *("fs/overlayfs/overlay", "drivers/net/veth", "net/bridge/bridge"),
            "net/netfilter/nf_conntrack",
        )
    ),
}
DOCKER = {
    # Of a `docker run --privileged` with control groups of its own (the default of version 2).
    "/.dockerenv": "",
    "/dlstack/lock": "",
    "/proc/self/mountinfo": "612 480 0:58 / / rw,relatime - overlay overlay "
    "rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B,upperdir=/u,workdir=/w\n"
    "627 612 254:1 /var/lib/docker/volumes/dlstack/_data /dlstack rw - ext4 /dev/vda1 rw\n",
    f"/lib/modules/{RELEASE}/modules.dep": None,
    "/sys/fs/cgroup/cgroup.type": "domain\n",
    "/sys/fs/cgroup/cgroup.procs": "1\n7\n",
    "/sys/fs/cgroup/cgroup.subtree_control": "\n",
    "/sys/fs/cgroup/memory.max": "max\n",
    "/sys/fs/cgroup/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/pids.max": "max\n",
    "/proc/sys/net/bridge/bridge-nf-call-iptables": "1\n",
}
UBUNTU = {
    "/etc/os-release": 'PRETTY_NAME="Ubuntu 24.04.2 LTS"\nID=ubuntu\nVERSION_ID="24.04"\n',
    "/etc/resolv.conf": "# This is /run/systemd/resolve/stub-resolv.conf managed by "
    "man:systemd-resolved(8).\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n",
    "/etc/ufw/ufw.conf": "ENABLED=yes\nLOGLEVEL=low\n",
}
WSL = {
    "/proc/version": "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@941d701f84f1) (gcc "
    "(GCC) 11.2.0) #1 SMP Fri Mar 29 23:14:13 UTC 2024\n",
    f"/lib/modules/{RELEASE}/modules.dep": None,
    "/proc/modules": None,
    "/proc/filesystems": "nodev\toverlay\n",
    "/proc/sys/net/bridge/bridge-nf-call-iptables": "1\n",
}


class Fake:
    """A folder that is another machine's root, and its programs' output."""

    def __init__(self, root: Path):
        self.root = root
        self.home = "/root/.dlstack"
        self.needs = Needs(home=Path(self.home), gibibytes=18, network=IPv4Network("10.76.0.0/14"))
        self.commands = {}
        """First word of a command -> its output, with exit status 0."""
        self.disk = {"free": 100 * GIB, "total": 200 * GIB, "files": 10**7, "free_files": 9 * 10**6}
        self.different = {}
        """Fields of `Machine` that are not as usual."""

    def machine(self, *layers) -> Machine:
        """The machine of DEBIAN with other files: path -> content, None for a file that is not."""
        files = dict(DEBIAN)
        for layer in layers:
            files.update(layer)
        for path, content in files.items():
            file = self.root / path.lstrip("/")
            if content is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
        usual = Machine(
            root=self.root,
            environment={},
            run=self._run,
            which=lambda program: f"/usr/bin/{program}",
            statvfs=self._statvfs,
            now=lambda: NOW,
            system="linux",
            architecture="x86_64",
            release=RELEASE,
            user=0,
            open_files=1_048_576,
        )
        return dataclasses.replace(usual, **self.different)

    def _run(self, words):
        output = self.commands.get(words[0])
        return (127, "") if output is None else (0, output)

    def _statvfs(self, _path):
        free, total, files, free_files = self.disk.values()
        block = 4096
        return os.statvfs_result(
            (block, block, total // block, free // block, free // block)
            + (files, free_files, free_files, 0, 255)
        )

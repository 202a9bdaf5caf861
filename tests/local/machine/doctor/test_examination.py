"""What is found on machines of other kinds, told by their files. Trials are in test_trials.py."""

import dataclasses
import os
from pathlib import Path

import pytest

from local.kubernetes.configuration import _kubelet
from local.kubernetes.nodes import Node
from local.machine.doctor import disk, examination, kernel, networks, resources, system
from local.machine.doctor.finding import OK, PROBLEM, WARNING
from local.machine.namespaces import INSIDE
from local.machine.ranges import Ranges
from tests.local.machine.doctor.fake_machine import (
    DEBIAN,
    DOCKER,
    GIB,
    NOW,
    RELEASE,
    UBUNTU,
    WSL,
)


def look(fake, *layers):
    """What a start finds: name -> finding. No test has two of one name."""
    return {one.name: one for one in examination.quick(fake.machine(*layers), fake.needs)}


def not_ok(findings):
    return {name: one.state for name, one in findings.items() if one.state != OK}


def test_an_ordinary_machine_has_all(fake):
    findings = look(fake)
    assert not_ok(findings) == {}
    assert findings["system"].found == "Debian GNU/Linux 12 (bookworm)"
    assert findings["memory"].found == "15.6 GiB, 11.4 GiB free"
    assert findings["cores"].found == "4"
    assert findings["file system"].found == "ext4 at /"


def test_a_start_begins_no_process(fake):
    def run(words):
        raise AssertionError(words)

    fake.different["run"] = run
    fake.needs = dataclasses.replace(fake.needs, made=True)
    assert not_ok(look(fake)) == {}


def test_all_that_is_not_ok_has_a_cure(fake):
    fake.different = {"user": 1000, "architecture": "riscv64", "release": "4.4.0"}
    findings = look(fake, {"/proc/meminfo": "MemTotal: 1000 kB\n", "/etc/resolv.conf": ""})
    wrong = {"user", "architecture", "kernel", "kernel modules", "memory", "name servers"}
    assert set(not_ok(findings)) == wrong
    for one in findings.values():
        assert bool(one.cure) == (one.state != OK)
        assert not one.found.endswith(".")
        assert one.cure == "" or one.cure.endswith(".")


def test_a_user_who_is_not_root_is_told_both_ways_out(fake):
    fake.different["user"] = 1000
    one = look(fake)["user"]
    assert "needs root, and this is user id 1000" in one.found
    assert "sudo" in one.cure and "KUBECONFIG" in one.cure


def test_of_another_system_all_is_said_that_can_be(fake):
    fake.different.update(system="darwin", architecture="arm64")
    findings = look(fake)
    assert not_ok(findings) == {"system": PROBLEM, "architecture": PROBLEM}
    assert "this is darwin" in findings["system"].found
    assert findings["disk"].state == OK


def test_ubuntu_with_its_resolver_is_taken(fake):
    findings = look(fake, UBUNTU)
    assert not_ok(findings) == {}
    assert "127.0.0.53, which pods ask by way of the cluster" in findings["name servers"].found


def test_a_debian_whose_containerd_is_too_old_is_refused_unless_there_is_another(fake):
    release = {"/etc/os-release": 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian 11"\n'}
    fake.different["which"] = lambda _: None
    assert "containerd is too old" in look(fake, release)["system"].found
    fake.different["which"] = lambda program: program
    assert look(fake, release)["system"].state == OK


def test_wsl_2_is_taken_and_wsl_1_is_not(fake):
    assert not_ok(look(fake, WSL)) == {}
    old = {"/proc/version": "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)\n"}
    one = look(fake, old)["virtualisation"]
    assert one.state == PROBLEM
    assert "wsl --set-version" in one.cure


class TestInDocker:
    def test_its_own_file_system_is_refused_and_a_volume_is_taken(self, fake):
        one = look(fake, DOCKER)["file system"]
        assert one.state == PROBLEM
        assert "docker run -v dlstack:/dlstack -e DLSTACK_HOME=/dlstack" in one.cure
        fake.needs = dataclasses.replace(fake.needs, home=Path("/dlstack"))
        findings = look(fake, DOCKER)
        assert not_ok(findings) == {}
        assert findings["file system"].found == "ext4 at /dlstack"

    def test_processes_of_the_root_group_are_managed(self, fake):
        found = look(fake, DOCKER)["control groups"]
        assert "processes get a group of their own" in found.found

    def test_its_limits_count(self, fake):
        limits = {
            "/sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
            "/sys/fs/cgroup/cpu.max": "150000 100000\n",
            "/sys/fs/cgroup/pids.max": "1024\n",
        }
        findings = look(fake, DOCKER, limits)
        assert findings["memory"].state == PROBLEM
        assert "2.0 GiB, this container's limit" in findings["memory"].found
        assert findings["cores"].found.startswith("1.5: ")
        assert "--pids-limit" in findings["threads"].cure

    def test_without_rights_it_is_told_the_option(self, fake):
        few = "CapEff:\t00000000a80425fb\nSeccomp:\t2\n"
        one = look(fake, DOCKER, {"/proc/self/status": few})["capabilities"]
        assert one.state == PROBLEM
        assert "CAP_NET_ADMIN, CAP_SYS_ADMIN" in one.found
        assert "--privileged" in one.cure

    def test_a_rootless_one_is_refused(self, fake):
        mapped = {"/proc/self/uid_map": "0 1000 1\n1 100000 65536\n"}
        findings = list(examination.quick(fake.machine(DOCKER, mapped), fake.needs))
        assert any("user namespace" in one.found for one in findings if one.state == PROBLEM)


class TestControlGroups:
    def test_the_memory_controller_that_is_off_is_turned_on_at_boot(self, fake):
        few = {"/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n"}
        one = look(fake, few)["control groups"]
        assert (one.state, one.found) == (PROBLEM, "version 2 without memory")
        assert "cgroup_enable=memory" in one.cure

    def test_none_at_all_are_named(self, fake):
        none = {f"/sys/fs/cgroup/cgroup.{name}": None for name in ("controllers", "procs")}
        assert "none are mounted" in look(fake, none)["control groups"].found

    def test_version_1_is_taken(self, fake):
        first = {"/sys/fs/cgroup/cgroup.controllers": None}
        for name in ("cpu", "cpuset", "memory", "pids"):
            first[f"/sys/fs/cgroup/{name}/cgroup.procs"] = "1\n"
        assert look(fake, first)["control groups"].found.startswith("version 1")
        first["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n"
        assert look(fake, first)["memory"].state == OK


class TestKernel:
    def test_one_that_was_updated_without_a_reboot(self, fake):
        fake.different["release"] = "6.1.0-38-amd64"
        one = look(fake)["kernel modules"]
        assert (one.state, one.cure) == (PROBLEM, "Reboot.")

    def test_one_whose_modules_are_in_another_package(self, fake):
        few = {f"/lib/modules/{RELEASE}/modules.dep": "kernel/fs/overlayfs/overlay.ko.zst:\n"}
        one = look(fake, few)["kernel modules"]
        assert "no veth, bridge, nf_conntrack" in one.found
        assert f"linux-modules-extra-{RELEASE}" in one.cure

    def test_namespaces_that_are_forbidden(self, fake):
        one = look(fake, {"/proc/sys/user/max_net_namespaces": "0\n"})["namespaces"]
        assert one.cure == "`sysctl -w user.max_net_namespaces=15000`."

    def test_a_root_without_proc(self, fake):
        files = {path: None for path in DEBIAN if path.startswith("/proc/")}
        assert list(kernel.examine(fake.machine(files)))[-1].cure == "`mount -t proc proc /proc`."


class TestDisk:
    @pytest.mark.parametrize(
        ("free", "state"), [(100, OK), (18.5, WARNING), (17, PROBLEM), (0.5, PROBLEM)]
    )
    def test_room_is_needed_for_the_start_and_above_the_eviction_limit(self, fake, free, state):
        fake.disk["free"] = int(free * GIB)
        one = look(fake)["disk"]
        assert one.state == state
        assert f"{free:.1f} of 200 GiB free at /root/.dlstack" in one.found

    def test_the_eviction_limit_is_the_kubelet_s(self):
        limits = _kubelet(Node(1, Ranges.parse("10.76.0.0/14")), INSIDE, "dlstack")["evictionHard"]
        assert limits["nodefs.available"] == limits["imagefs.available"]
        assert limits["nodefs.available"] == f"{disk.EVICTION_GIBIBYTES}Gi"

    def test_files_may_run_out_before_space(self, fake):
        fake.disk["free_files"] = 1000
        assert look(fake)["files"].state == PROBLEM
        fake.disk.update(files=0, free_files=0)  # btrfs has no table of files
        assert "files" not in look(fake)

    @pytest.mark.parametrize(
        ("mount", "state", "said"),
        [
            ("rw - nfs4 nas:/home rw", PROBLEM, "is on nfs4 (/root/.dlstack)"),
            ("rw - fuse.sshfs host: rw", PROBLEM, "is on fuse.sshfs"),
            ("rw - 9p drvfs rw", PROBLEM, "is on 9p"),
            ("rw,noexec - ext4 /dev/vdb rw", PROBLEM, "noexec: no program can run"),
            ("rw - ext4 /dev/vdb ro", PROBLEM, "ro: nothing can be written"),
            ("rw,nosuid,nodev - xfs /dev/vdb rw", OK, "xfs at /root/.dlstack"),
            ("rw - tmpfs tmpfs rw", WARNING, "is in memory"),
        ],
    )
    def test_the_file_system_must_hold_containers(self, fake, mount, state, said):
        more = f"27 1 254:1 / / rw - ext4 /dev/vda1 rw\n30 27 0:50 / {fake.home} {mount}\n"
        one = look(fake, {"/proc/self/mountinfo": more, f"{fake.home}/file": ""})["file system"]
        assert one.state == state
        assert said in one.found

    def test_a_folder_with_spaces_is_found(self, fake):
        more = "27 1 0:1 / / rw - ext4 /dev/vda rw\n30 27 0:2 / /my\\040disk rw - xfs /dev/vdb rw\n"
        machine = fake.machine({"/proc/self/mountinfo": more})
        assert disk.mount_of(machine, Path("/my disk/dlstack")).kind == "xfs"


class TestResources:
    def test_low_limits_of_inotify_are_raised_or_told(self, fake, monkeypatch):
        low = {"/proc/sys/fs/inotify/max_user_instances": "128\n"}
        one = look(fake, low)["inotify"]
        assert (one.state, "raised while" in one.found) == (OK, True)
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert (
            "max_user_instances=512"
            in list(one for one in resources.examine(fake.machine(low), fake.needs) if one.cure)[
                0
            ].cure
        )

    def test_memory_that_others_use_is_told_only_before_the_start(self, fake):
        full = {"/proc/meminfo": "MemTotal: 16384000 kB\nMemAvailable: 1000000 kB\n"}
        assert look(fake, full)["memory"].state == WARNING
        fake.needs = dataclasses.replace(fake.needs, processes=(4711,))
        assert look(fake, full)["memory"].state == OK

    def test_few_open_files(self, fake):
        fake.different["open_files"] = 1024
        assert "ulimit -n" in look(fake)["open files"].cure


class TestAddresses:
    ROUTES = '[{"dst":"default","dev":"eth0"},{"dst":"192.0.2.0/24","dev":"eth0"}%s]'

    def overlaps(self, fake, *routes):
        more = "".join(f',{{"dst":"{dst}","dev":"{dev}"}}' for dst, dev in routes)
        fake.commands["ip"] = self.ROUTES % more
        return look(fake)["addresses"]

    def test_a_free_range_is_suggested(self, fake):
        one = self.overlaps(fake, ("10.78.4.0/24", "tun0"), ("10.248.0.0/13", "tun0"))
        assert one.state == PROBLEM
        assert "overlaps 10.78.4.0/24 (tun0)" in one.found
        assert "DLSTACK_NETWORK=10.244.0.0/14" in one.cure

    def test_a_network_around_it_only_loses_that_part(self, fake):
        one = self.overlaps(fake, ("10.0.0.0/8", "tun0"))
        assert one.state == WARNING
        assert "DLSTACK_NETWORK=172.28.0.0/14" in one.cure
        fake.needs = dataclasses.replace(fake.needs, made=True)
        fake.commands.clear()
        assert (
            look(fake, {"/proc/net/route": "\neth0 0000000A 0 1 0 0 0 000000FF 0 0 0\n"})[
                "addresses"
            ].state
            == OK
        )

    def test_devices_of_the_cluster_itself_do_not_count(self, fake):
        fake.needs = dataclasses.replace(fake.needs, devices=("dlstack-*",))
        assert self.overlaps(fake, ("10.77.0.0/24", "dlstack-1a2b3c")).state == OK

    def test_a_name_server_in_the_range_is_not_lost(self, fake):
        one = look(fake, {"/etc/resolv.conf": "nameserver 10.79.0.2\n"})["addresses"]
        assert one.state == PROBLEM
        assert "the name server 10.79.0.2" in one.found

    def test_without_ip_the_main_table_counts(self, fake):
        tunnel = "tun0\t00044E0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        machine = fake.machine()
        file = machine.path("/proc/net/route")
        file.write_text(file.read_text() + tunnel)
        found = networks.routes(machine, every_route=False)
        assert [str(net) for net, _ in found] == ["192.0.2.0/24", "10.78.4.0/24"]

    def test_a_port_that_is_taken_is_told_with_its_owner(self, fake):
        listener = (
            "   0: 0100007F:7BB6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
            "        0 4242 1 0000000000000000 100 0 0 10 0\n"
        )
        fake.needs = dataclasses.replace(fake.needs, ports={31670: "predictions"})
        machine = fake.machine()
        file = machine.path("/proc/net/tcp")
        file.write_text(file.read_text() + listener)
        owner = machine.path("/proc/77/fd")
        owner.mkdir(parents=True)
        (owner / "3").symlink_to("socket:[4242]")
        (owner.parent / "comm").write_text("nginx\n")
        one = next(
            one for one in networks.examine(machine, fake.needs, False) if one.name[:4] == "port"
        )
        assert one.found == "in use by nginx (process 77): predictions get another"
        elsewhere = dataclasses.replace(fake.needs, addresses=("192.0.2.7",))
        found = list(networks.examine(machine, elsewhere, False))
        assert not [one for one in found if one.name.startswith("port")]

    def test_without_ipv6_all_is_well(self, fake):
        findings = look(fake, {"/proc/sys/net/ipv6/conf/all/disable_ipv6": None})
        assert findings["IPv6"].found == "off, and not needed"


class TestClock:
    def test_certificates_that_were_made_in_the_future(self, fake):
        machine = fake.machine({f"{fake.home}/platform/pki/ca.crt": ""})
        os.utime(machine.path(f"{fake.home}/platform/pki/ca.crt"), (NOW + 4000, NOW + 4000))
        one = {one.name: one for one in examination.quick(machine, fake.needs)}["clock"]
        assert one.state == PROBLEM
        assert "2027-01-15 08:00:00 UTC" in one.found

    def test_a_clock_that_was_never_set(self, fake):
        fake.different["now"] = lambda: 1000.0
        assert "1970-01-01" in look(fake)["clock"].found


class TestProxies:
    def test_they_are_shown_without_their_passwords(self, fake):
        fake.different["environment"] = {"https_proxy": "http://eve:secret@proxy:3128"}
        one = look(fake)["proxy"]
        assert one.state == OK
        assert "https_proxy http://proxy:3128" in one.found

    def test_one_without_a_protocol_is_told(self, fake):
        fake.different["environment"] = {"HTTPS_PROXY": "eve:secret@proxy:3128"}
        one = look(fake)["proxy"]
        assert one.state == WARNING
        assert "secret" not in one.sentence

    def test_two_that_differ_are_told(self, fake):
        for garbage in ("http://[::1", "http://a:port"):
            fake.different["environment"] = {"HTTPS_PROXY": garbage}
            assert f"is '{garbage}', which is no address" in look(fake)["proxy"].found
        fake.different["environment"] = {"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}
        assert "differ" in look(fake)["proxy"].found


class TestTools:
    def tools(self, machine, python=(3, 11, 2), has_venv=True):
        return {one.name: one for one in system.python(machine, python, has_venv)}

    def test_a_python_that_is_too_old(self, fake):
        one = self.tools(fake.machine(), python=(3, 10, 12))["Python"]
        assert one.found == "3.10.12, and 3.11 or newer is needed"
        assert "apt-get install python3.11 python3.11-venv" in one.cure

    def test_a_python_without_venv(self, fake):
        assert "python3-venv" in self.tools(fake.machine(), has_venv=False)["Python"].cure

    def test_packages_that_no_apt_can_install(self, fake):
        assert system.packages(fake.machine(), []).found == "all there"
        assert system.packages(fake.machine(), ["runc"]).found == "`make up` installs runc"
        fake.different["which"] = lambda _: None
        one = system.packages(fake.machine(), ["runc", "containerd"])
        assert (one.state, one.found[-17:]) == (PROBLEM, ": runc, containerd"[-17:])

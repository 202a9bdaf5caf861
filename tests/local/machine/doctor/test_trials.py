"""What only a trial shows, tried on this machine's kernel in namespaces of the tests' own."""

import ast
import dataclasses
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from local.home import REPOSITORY
from local.machine.doctor import clock, firewall, kernel, neighbours, networks, registries
from local.machine.doctor.facts import Machine, Needs
from local.machine.doctor.finding import OK, PROBLEM, WARNING
from tests.local.machine.doctor.fake_machine import CAPTURED, NOW

root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def needs(home):
    return Needs(home=home, gibibytes=0, network=IPv4Network("10.76.0.0/14"))


@pytest.fixture
def namespace():
    """A machine with a network of its own, for commands; its files are this machine's."""
    with subprocess.Popen(["unshare", "--net", "sleep", "600"]) as holder:
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        enter = ["nsenter", "--target", str(holder.pid), "--net"]

        def run(words):
            done = subprocess.run([*enter, *words], capture_output=True, text=True)
            return done.returncode, done.stdout

        yield Machine(run=run)
        holder.kill()


def do(machine, *commands):
    for command in commands:
        status, _ = machine.run(command.split())
        assert status == 0, command


@root
class TestInANetworkOfItsOwn:
    def test_a_tunnel_in_a_table_of_its_own_is_seen(self, namespace, tmp_path):
        do(
            namespace,
            "ip link add tun7 type veth peer name tun8",
            "ip address add 198.51.100.1/24 dev tun7",
            "ip link set tun7 up",
            "ip route add 10.78.4.0/22 dev tun7 table 51820",
        )
        found = networks.routes(namespace, every_route=True)
        assert (IPv4Network("10.78.4.0/22"), "tun7") in found
        one = next(networks.examine(namespace, needs(tmp_path), every_route=True))
        assert (one.state, "overlaps 10.78.4.0/22 (tun7)" in one.found) == (PROBLEM, True)

    def test_rules_that_reject_are_named(self, namespace):
        one = next(firewall.examine(namespace))
        assert one.found.startswith("refuses nothing")
        do(
            namespace,
            "iptables -A INPUT -i lo -j ACCEPT",
            "iptables -A INPUT -j REJECT --reject-with icmp-host-prohibited",
            "iptables -P FORWARD DROP",
        )
        one = next(firewall.examine(namespace))
        assert one.state == OK
        assert one.found.startswith("refuses in FORWARD, INPUT")


@pytest.mark.parametrize(
    ("program", "file", "chains"),
    [
        ("iptables-save", "ufw.iptables", {"INPUT", "FORWARD"}),
        ("nft", "ufw.nft.json", {"INPUT", "FORWARD"}),
        ("nft", "firewalld.nft.json", {"INPUT", "FORWARD", "OUTPUT"}),
    ],
)
def test_the_rules_of_firewalls_are_read(fake, program, file, chains):
    """firewalld's reach no iptables; ufw's refuse by chains of its own."""
    fake.commands[program] = (CAPTURED / file).read_text()
    assert firewall.refusing(fake.machine()) == sorted(chains)


@root
class TestOfTheKernel:
    def test_this_machine_has_what_a_node_needs(self, tmp_path):
        (one,) = kernel.trial(Machine(), needs(tmp_path))
        assert one.state == OK
        assert "NFQUEUE, nfnetlink_queue, overlay, whiteout" in one.found
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("nodes", "state"), [(1, WARNING), (3, PROBLEM)])
    def test_a_kernel_that_asks_no_program_about_connections_has_one_node(
        self, fake, tmp_path, nodes, state
    ):
        """Symptom: `NODES=3 make up` failed in the middle, with iptables' own words."""
        said = "iptables: No chain/target/match by that name."
        fake.commands["unshare"] = f"bridge|\nNFQUEUE|{said} \nnfnetlink_queue|\n"
        need = dataclasses.replace(needs(tmp_path), nodes=nodes)
        (one,) = kernel.trial(fake.machine(), need)
        assert (one.name, one.state) == ("kernel (NFQUEUE)", state)
        assert "`modprobe xt_NFQUEUE`" in one.cure
        assert ("NODES=3" in one.cure) == (nodes == 1)

    def test_layers_on_an_overlay_are_refused(self, tmp_path):
        """A container's own file system, where containerd's mounts end with `invalid argument`."""
        for name in ("lower", "upper", "work", "home"):
            (tmp_path / name).mkdir()
        home = tmp_path / "home"
        options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(home)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("this machine is itself on an overlay")
        try:
            found = list(kernel.trial(Machine(), needs(home)))
        finally:
            subprocess.run(["umount", home], check=True)
        assert [one.name for one in found] == ["kernel (overlay)"]
        assert "docker" not in found[0].found
        assert "on a volume" in found[0].cure

    def test_namespaces_that_are_refused_are_told(self, tmp_path):
        def run(words):
            dropped = ["setpriv", "--bounding-set", "-sys_admin", *words]
            done = subprocess.run(dropped, capture_output=True, text=True)
            return done.returncode, done.stderr

        (one,) = kernel.trial(Machine(run=run), needs(tmp_path))
        assert one.state == PROBLEM
        assert "--privileged" in one.cure


class Server(http.server.BaseHTTPRequestHandler):
    date = 0.0

    def do_HEAD(self):
        self.send_response_only(404)
        self.send_header("Date", formatdate(self.date, usegmt=True))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def registry(monkeypatch):
    """URL of a server on this machine whose clock can be set, and that server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(registries, "SECONDS", 60.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


@pytest.mark.parametrize(("off", "state"), [(10, OK), (-3600, PROBLEM), (86400, PROBLEM)])
def test_a_clock_that_is_off_is_seen_by_a_server_s(fake, registry, off, state):
    Server.date = NOW + off
    ((at, error),) = registries.ask({"PyPI": registry}).values()
    assert error == ""
    (one,) = clock.against(fake.machine(), {"127.0.0.1": at})
    assert one.state == state


def test_a_registry_that_is_not_there_is_told_with_the_way_out(fake, monkeypatch):
    monkeypatch.setattr(registries, "SECONDS", 60.0)
    urls = {"PyPI": "http://127.0.0.1:9/simple", "Debian": ""}
    answers = registries.ask({"PyPI": urls["PyPI"]})
    (one,) = registries.examine(urls, answers, fake.needs)
    assert one.state == WARNING
    assert one.found == "PyPI (127.0.0.1:9): Connection refused"
    assert "HTTPS_PROXY" in one.cure


def test_the_machine_s_own_registries_are_asked(fake):
    fake.different["environment"] = {"GOPROXY": "off,https://eve:secret@go.example.com,direct"}
    machine = fake.machine(
        {
            "/etc/pip.conf": "[global]\nindex-url = https://pypi.example.com/simple\n",
            "/etc/apt/sources.list": "# deb http://no\ndeb [a=b] http://deb.example.com/d b\n",
        }
    )
    assert registries.addresses(machine) == {
        "PyPI": "https://pypi.example.com/simple",
        "Go modules": "https://eve:secret@go.example.com",
        "Debian": "http://deb.example.com/d",
    }


def test_neighbours_are_named_and_the_cluster_itself_is_not(fake):
    machine = fake.machine(
        {
            "/proc/8/comm": "k3s-server\n",
            "/proc/9/comm": "containerd\n",
            "/proc/10/comm": "dockerd\n",
        }
    )
    own = dataclasses.replace(fake.needs, processes=(9,))
    found = {one.name: one.found for one in neighbours.examine(machine, own)}
    assert found["other Kubernetes"].startswith("k3s:")
    assert found["container runtimes"] == "Docker: left alone"


def doctor(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "local", "doctor", *words],
        cwd=REPOSITORY,
        env={**os.environ, "KUBECONFIG": "", **environment},
        capture_output=True,
        text=True,
    )


def test_programs_get_the_same_as_people(tmp_path):
    home = {"DLSTACK_HOME": str(tmp_path)}
    lacks = ["not tried"]
    # Between the two another test's cluster may begin or end, which both may tell of.
    for _ in range(5):
        if not lacks:
            break
        told = doctor("--json", **home)
        answer = json.loads(told.stdout)
        assert answer["ready"] == (told.returncode == 0)
        assert all(set(one) == {"name", "found", "state", "cure"} for one in answer["findings"])
        shown = doctor(**home, COLUMNS="120")
        names = [one["name"] for one in answer["findings"]]
        lacks = [name for name in names if f" {name} " not in shown.stdout]
        if shown.returncode != told.returncode:
            lacks.append("status")
    assert lacks == []
    assert list(tmp_path.iterdir()) == []


def test_beside_a_cluster_that_is_brought_no_machine_is_needed(tmp_path):
    told = doctor("--json", DLSTACK_HOME=str(tmp_path), KUBECONFIG=str(tmp_path / "mine"))
    names = {one["name"] for one in json.loads(told.stdout)["findings"]}
    assert {"disk", "Python"} <= names
    assert not {"user", "kernel", "memory", "control groups", "addresses"} & names


def test_an_old_python_can_run_it():
    """`make doctor` says that Python is too old; what it runs till then must not end by that."""
    loaded = (
        "import sys, local.doctor\n"
        "for module in list(sys.modules.values()): print(getattr(module, '__file__', ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded_files = (Path(line) for line in done.stdout.splitlines() if line)
    files = [file for file in loaded_files if file.is_relative_to(REPOSITORY / "local")]
    assert len([file for file in files if "doctor" in str(file)]) > 10
    for file in files:
        source = file.read_text()
        ast.parse(source, file, feature_version=(3, 9))
        if "def " in source:
            # Else `X | None` in a signature is an error there.
            assert "from __future__ import annotations" in source, file

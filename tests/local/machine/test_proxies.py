"""Proxies of the environment: what is completed, and what each kind of program makes of it.

Go's rules are not tried here: tests/cluster/without_stack/test_behind_a_proxy.py runs kubectl.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.request

import pytest
from botocore.utils import should_bypass_proxies as botocore_bypasses
from kubernetes.client.rest import should_bypass_proxies as kubernetes_bypasses
from requests.utils import should_bypass_proxies as requests_bypasses

from local.machine import proxies
from local.machine.processes import Daemon
from tests.recording_proxy import RecordingProxy

PROXY = "http://proxy.example:3128"
OURS = ("10.77.0.1", "10.76.0.0/14")


def test_without_a_proxy_nothing_is_set():
    assert proxies.completed({"HOME": "/root"}, OURS) == {}
    assert proxies.completed({"NO_PROXY": "example.com", "https_proxy": ""}, OURS) == {}


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_each_variable_is_there_in_both_cases(name):
    found = {name: PROXY} | proxies.completed({name: PROXY}, OURS)
    assert found["HTTPS_PROXY"] == found["https_proxy"] == PROXY
    assert found["NO_PROXY"] == found["no_proxy"]
    assert "HTTP_PROXY" not in found


def test_programs_that_know_no_all_proxy_are_told():
    found = proxies.completed({"ALL_PROXY": PROXY, "http_proxy": "http://other:1"}, OURS)
    assert found["HTTPS_PROXY"] == found["https_proxy"] == found["all_proxy"] == PROXY
    assert found["HTTP_PROXY"] == "http://other:1"
    assert "http_proxy" not in found


def test_what_a_person_excepts_stays_in_front():
    given = {"https_proxy": PROXY, "NO_PROXY": "a.example, 10.0.0.0/8", "no_proxy": ".b.example"}
    found = proxies.completed(given, OURS)
    assert found["NO_PROXY"] == found["no_proxy"]
    assert found["no_proxy"].split(",") == [
        *(".b.example", "a.example", "10.0.0.0/8"),
        *("localhost", "127.0.0.1", "::1", ".svc", ".cluster.local"),
        *OURS,
    ]
    assert proxies.completed(given | found, OURS) == {}, "the second time there is nothing to do"


def test_who_excepts_all_is_left_at_that():
    found = proxies.completed({"https_proxy": PROXY, "no_proxy": "a.example,*"}, OURS)
    assert found["no_proxy"] == found["NO_PROXY"] == "*"


def test_what_grpc_reads_in_its_place_is_completed_as_well():
    given = {"grpc_proxy": PROXY, "no_grpc_proxy": "a.example"}
    assert proxies.completed(given, OURS)["no_grpc_proxy"].startswith("a.example,localhost,")


@pytest.mark.parametrize(
    "url",
    [
        "https://10.77.0.1:6443/readyz",
        "http://127.0.0.1:31670",
        "http://localhost:8080",
        "http://object-store.dlstack-local.svc:8333",
        "https://kubernetes.default.svc.cluster.local",
    ],
)
def test_libraries_of_python_pass_by_it(url, monkeypatch):
    set_only(monkeypatch, {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "NO_PROXY": "a.example"})
    host = url.partition("//")[2].partition("/")[0]
    assert urllib.request.proxy_bypass(host)
    assert botocore_bypasses(url)
    assert requests_bypasses(url, no_proxy=None)
    assert kubernetes_bypasses(url, os.environ["no_proxy"])


def test_ranges_are_excepted_where_ranges_are_understood(monkeypatch):
    set_only(monkeypatch, {"HTTPS_PROXY": PROXY})
    assert requests_bypasses("http://10.78.3.4:80", no_proxy=None)
    assert kubernetes_bypasses("http://10.79.0.1", os.environ["no_proxy"])


def test_the_world_is_asked_for_through_it(monkeypatch):
    set_only(monkeypatch, {"https_proxy": PROXY})
    for host in ("pypi.org", "10.80.0.1", "svc.example", "1.10.77.0.1.example"):
        assert not urllib.request.proxy_bypass(host)
        assert not requests_bypasses(f"https://{host}", no_proxy=None)


def test_grpc_asks_no_proxy_for_this_machine(monkeypatch):
    """Pulumi's program talks to its engine by gRPC, at a port of 127.0.0.1."""
    code = """
import grpc
from concurrent.futures import ThreadPoolExecutor
server = grpc.server(ThreadPoolExecutor(1))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
for host in ("127.0.0.1", "localhost"):
    grpc.channel_ready_future(grpc.insecure_channel(f"{host}:{port}")).result(timeout=60)
"""
    with RecordingProxy() as proxy:
        set_only(monkeypatch, {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url})
        subprocess.run([sys.executable, "-c", code], check=True)
        assert not proxy.asked


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_asks_it_for_the_world_alone(monkeypatch):
    with RecordingProxy() as proxy, RecordingProxy() as server:
        # Of HTTP_PROXY in upper case curl takes no notice.
        set_only(monkeypatch, {"HTTP_PROXY": proxy.url})
        for url in (server.url, "http://name.example/file"):
            subprocess.run(["curl", "--silent", "--max-time", "60", url], check=False)
        assert [line.split()[1] for line in proxy.asked] == ["http://name.example/file"]


def test_the_clusters_own_processes_know_of_none(monkeypatch, tmp_path):
    set_only(monkeypatch, {"HTTPS_PROXY": PROXY, "all_proxy": PROXY})
    prints = [sys.executable, "-c", "import os; print(sorted(os.environ))"]
    for name, environment in (("etcd", {}), ("containerd", proxies.only(os.environ))):
        daemon = Daemon(name, prints, tmp_path, environment)
        daemon.start()
        os.waitid(os.P_PID, int_of(daemon), os.WEXITED | os.WNOWAIT)
        names = daemon.log.read_text().lower()
        assert ("https_proxy" in names) == ("no_proxy" in names) == (name == "containerd")


def int_of(daemon):
    return json.loads((daemon.folder / "pids" / daemon.name).read_text())["pid"]


def set_only(monkeypatch, variables):
    """Have the environment name these proxies alone, completed as the commands do."""
    for name in proxies.only(os.environ):
        monkeypatch.delenv(name)
    for name, value in {**variables, **proxies.completed(variables, OURS)}.items():
        monkeypatch.setenv(name, value)

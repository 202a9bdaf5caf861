"""The embedded cluster behind a proxy that listens on this machine's loopback interface.

What passes by it is this machine's and the cluster's; what pods want of the world arrives there.
"""

import json
import os
import subprocess
import sys

import pytest

from local.home import REPOSITORY
from local.machine import proxies
from tests.recording_proxy import RecordingProxy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ASKS = """
import urllib.request
for url in ("http://world.example/file", "https://kubernetes.default.svc.cluster.local/"):
    try:
        urllib.request.urlopen(url, timeout=20)
    except OSError as error:
        print(url, error)
"""


@pytest.fixture
def behind_a_proxy(cluster):
    """The variables of a shell behind one, with the cluster up for it; and the proxy."""
    bare = proxies.without(os.environ)
    with RecordingProxy() as proxy:
        shell = {**bare, "HTTP_PROXY": proxy.url, "https_proxy": proxy.url}
        try:
            run("up", shell)
            yield shell, proxy
        finally:
            run("up", bare)
    assert not [one for one in cluster.processes() if one.name == "proxy-relay"]


def run(command: str, shell: dict[str, str]) -> str:
    words = [sys.executable, "-m", "local", command]
    done = subprocess.run(words, cwd=REPOSITORY, env=shell, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def own_environment():
    """The variables of this process, which are as before afterwards, whoever sets some."""
    before = dict(os.environ)
    yield os.environ
    os.environ.clear()
    os.environ.update(before)


def test_the_cluster_passes_by_it_and_pods_reach_it(platform, behind_a_proxy, own_environment):
    shell, proxy = behind_a_proxy
    for name in proxies.only(own_environment):
        del own_environment[name]
    own_environment.update(proxies.only(shell))
    platform.pass_by_proxies()
    assert "Ready" in platform.cluster.kubectl("get", "nodes")
    assert not proxy.asked
    pod = json.loads(platform.pod_proxy())
    variables = {"http_proxy": pod["httpProxy"], "no_proxy": pod["noProxy"]}
    kubectl = platform.cluster.kubectl
    kubectl(
        *("run", "asks", f"--image={platform.runtime_image}", "--restart=Never"),
        *(f"--env={name}={value}" for name, value in variables.items()),
        *("--command", "--", "python3", "-c", ASKS),
    )
    try:
        kubectl("wait", "pod/asks", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
        # Not what `run -i` shows: who attaches too late sees nothing of what was printed.
        said = kubectl("logs", "asks")
    finally:
        kubectl("delete", "pod", "asks")
    assert "http://world.example/file HTTP Error 403" in said
    assert "CERTIFICATE_VERIFY_FAILED" in said, "the API server itself has answered"
    assert proxy.asked == ["GET http://world.example/file HTTP/1.1"]

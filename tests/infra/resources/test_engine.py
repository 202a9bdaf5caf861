"""What Pulumi's engine hears of a provider: the real plugin process, asked as the engine does."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import dill
import grpc
import pulumi
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from infra.resources import engine
from infra.resources.roll_out import _RollOutProvider
from local.home import REPOSITORY
from tests.infra.conftest import ANY_CLUSTER, KubeApi
from tests.waiting import eventually

URN = "urn:pulumi:dev::dlstack::dynamic:RollOut::prediction-roll-out"


class Heard(engine_pb2_grpc.EngineServicer):
    """An engine that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, bool]] = []

    def Log(self, request: Any, _context: Any) -> empty_pb2.Empty:
        self.lines.append((request.urn, request.message, request.ephemeral))
        return empty_pb2.Empty()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@dataclass
class Started:
    """A real process of Pulumi's plugin for dynamic resources, and the engine that started it."""

    engine: grpc.Server
    process: "subprocess.Popen[str]"


@pytest.fixture
def started(heard: Heard, kube_api: KubeApi) -> Iterator[Started]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    engine_pb2_grpc.add_EngineServicer_to_server(heard, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.dynamic", f"127.0.0.1:{port}"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PULUMI_PROJECT": "dlstack"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Started(server, process)
        process.terminate()
    server.stop(None)


@pytest.fixture
def plugin(started: Started) -> Iterator[Any]:
    """A client of the plugin, which knows the cluster `kube_api`."""
    assert started.process.stdout is not None
    port = started.process.stdout.readline().strip()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)


def roll_out(plugin: Any, **props: Any) -> None:
    """Make a RollOut, as the engine asks for it."""
    provider = base64.b64encode(dill.dumps(_RollOutProvider())).decode()
    document = {
        "__provider": provider,
        "cluster": ANY_CLUSTER,
        "namespace": "dev",
        "deployment": "prediction",
        "seconds": 60,
        **props,
    }
    properties = json_format.ParseDict(document, struct_pb2.Struct())
    plugin.Create(provider_pb2.CreateRequest(urn=URN, properties=properties))


LIMITED = "maximum memory usage per Container is 64Mi, but limit is 1Gi"


def refused(kube_api: KubeApi, why: str = LIMITED) -> None:
    """A Deployment whose pods a LimitRange refuses, or something else, in the cluster."""
    deployment = {
        "metadata": {
            "name": "prediction",
            "namespace": "dev",
            "uid": "d",
            "generation": 1,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1},
    }
    replica_set = {
        "metadata": {
            "uid": "r",
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "ownerReferences": [{"uid": "d"}],
        },
        "status": {
            "conditions": [
                {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "message": f'pods "prediction-1-x" is forbidden: {why}',
                }
            ]
        },
    }
    watched = "/apis/apps/v1/namespaces/dev/deployments?fieldSelector=metadata.name=prediction"
    event = {"type": "ADDED", "object": deployment}
    kube_api[f"{watched}&watch=true&timeoutSeconds=3"] = (200, event)
    kube_api["/apis/apps/v1/namespaces/dev/replicasets"] = (200, {"items": [replica_set]})


def test_is_told_at_once_what_a_roll_out_waits_for_and_why_it_fails(
    plugin: Any, heard: Heard, kube_api: KubeApi
) -> None:
    """All errors began with "Exception calling application: ", and waits with nothing at all."""
    refused(kube_api)
    with pytest.raises(grpc.RpcError) as failed:
        roll_out(plugin)
    why = (
        "a LimitRange refuses the pod: maximum memory usage per Container is 64Mi, but limit is "
        "1Gi. Choose another dlstack:servingFlavour, or change the LimitRange of the namespace."
    )
    assert heard.lines == [(URN, f"The Deployment 'prediction' waits: {why}", True)]
    assert failed.value.details().startswith(
        f"The roll-out of the Deployment 'prediction' failed: {why}"
    )


def test_an_error_that_nobody_expected_is_told_as_one(plugin: Any) -> None:
    with pytest.raises(grpc.RpcError, match="Exception calling application: "):
        roll_out(plugin, seconds="many")


def test_a_wait_ends_when_pulumi_is_told_to_stop(
    plugin: Any, heard: Heard, kube_api: KubeApi
) -> None:
    """After one Ctrl-C an `up` waited on, and a second one left the stack locked."""
    # It may pass, so it is waited for.
    refused(kube_api, "exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3")
    with futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(roll_out, plugin)
        # Before that the plugin may still import what it is to do, and does not hear us.
        eventually(lambda: heard.lines or waiting.done())
        with pytest.raises(futures.TimeoutError):
            waiting.result(timeout=1)
        plugin.Cancel(empty_pb2.Empty())
        with pytest.raises(grpc.RpcError) as failed:
            waiting.result(timeout=50)
    assert "was not waited for" in failed.value.details()


def test_a_killed_engine_leaves_no_plugin_behind(plugin: Any, started: Started) -> None:
    """It stayed for ever after `kill -9` of `pulumi`, and went on with what it was doing."""
    with pytest.raises(grpc.RpcError):
        roll_out(plugin, seconds="many")
    assert started.process.poll() is None
    started.engine.stop(None).wait()
    assert started.process.wait(100) == 1


def test_outside_of_the_plugin_an_error_is_the_same_and_nobody_is_told() -> None:
    engine.tell("nothing")

    @engine.answering
    def refuse() -> None:
        raise pulumi.RunError("No.")

    with pytest.raises(pulumi.RunError, match=r"^No\.$"):
        refuse()

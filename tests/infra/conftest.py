"""A recording Pulumi engine, a cluster of two nodes, and a project folder with code and data."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pulumi
import pytest
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks

from infra.cluster import api, kubeconfig
from infra.cluster.clusters import Cluster
from infra.program import stack, store_look
from infra.resources import connection
from infra.run import packages
from infra.settings import configuration

RUN_HASH = "f" * 64
STACK = "dlstack-dev"
STACK_ID = "0b7c9f4e-6f0e-4c55-9d0e-3f1f6f3f8f11"
CLUSTER = Cluster(context="", uid="6fc7d3c5", server="https://cluster.example:6443")
"""The cluster that the program is told it is on."""
ANY_CLUSTER = Cluster(context="", uid="", server="")
"""Whichever the kubeconfig leads to."""


@dataclass
class Recorded:
    """A resource that the program declared."""

    type: str
    name: str
    inputs: dict[str, Any]
    provider: str = ""
    """Reference of its provider; empty: the default one."""


@dataclass
class Engine(Mocks):
    """Takes every resource and answers with what a cluster and the providers would say."""

    resources: list[Recorded] = field(default_factory=list)
    is_there: bool = True
    """False: a preview of a new stack, where outputs are no more than inputs."""

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"unexpected call of {args.token}")

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources.append(Recorded(args.typ, args.name, args.inputs, args.provider))
        state = dict(args.inputs)
        if not self.is_there:
            return "", state
        if args.typ == "kubernetes:core/v1:Service":
            ports = [
                {**port, "nodePort": port.get("nodePort", 30000 + port["port"] % 2000)}
                for port in state["spec"]["ports"]
            ]
            state["spec"] = {**state["spec"], "ports": ports}
            state["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}
        elif args.typ.startswith("kubernetes:"):
            name = state["metadata"].get("name", f"{args.name}-0a1b2c3d")
            state["metadata"] = {**state["metadata"], "name": name}
        elif args.typ.endswith(":Identity"):
            state.setdefault("stack_id", STACK_ID)
        elif args.typ.endswith(":Folder"):
            state["url"] = f"s3://{state['bucket']}/folders/{state['digest']}"
        elif args.typ.endswith(":Package"):
            state["config_map"] = f"{state['package']}-0a1b2"
        elif args.typ.endswith((":PublishedModel", ":ImportedModel")):
            state |= {
                "version": state.get("wanted_version") or 3,
                "run_hash": RUN_HASH,
                "metrics": {"accuracy": 0.99},
                "provenance": {"commit": "c" * 40},
            }
        elif args.typ.endswith(":GeneratedCertificate"):
            state |= {"authority": "CA", "certificate": "CERT", "key": "generated-key"}
        elif args.typ.endswith(":GeneratedCredentials"):
            state |= {"access_key": "GENERATED", "secret_key": "generated-secret"}
        return f"{args.name}-id", state

    def created(self, type_: str) -> list[Recorded]:
        """The resources of a type, in the order in which they were declared."""
        return [resource for resource in self.resources if resource.type == type_]

    def the(self, type_: str, name: str) -> dict[str, Any]:
        """The inputs of one resource."""
        (found,) = [r for r in self.created(type_) if r.name == name]
        return found.inputs

    def types(self) -> set[str]:
        return {resource.type for resource in self.resources}


way_in = connection.way_in
"""The real one: see below."""


@pytest.fixture(autouse=True)
def stores_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach in-stack stores at their URL: here they are no pods, and no API leads to them.

    test_connection.py covers the way through it.
    """
    monkeypatch.setattr(
        connection, "way_in", lambda store: connection.WayIn(store["endpoint"], None)
    )


look_at_the_store = store_look.problem
"""The real one: see below."""


@pytest.fixture(autouse=True)
def stores_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take stores that are configured for some that answer: most of them are names only.

    program/test_store_look.py covers those that don't.
    """
    monkeypatch.setattr(store_look, "problem", lambda *_: "")


@pytest.fixture(scope="session")
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop of all of Pulumi's work: it takes the current one, and `asyncio.run` leaves none."""
    loop = asyncio.new_event_loop()
    yield loop
    # The stack itself is declared in tests of the settings, which await nothing.
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.fixture(autouse=True)
def current_event_loop(event_loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(event_loop)


@pytest.fixture
def engine(current_event_loop: None) -> Iterator[Engine]:
    recording = Engine()
    # Of the root of all stacks of this process: what the last one declared for its own objects.
    if root := pulumi.runtime.get_root_resource():
        root._transformations = []
    pulumi.runtime.set_mocks(recording, project="dlstack", stack="dev", preview=False)
    pulumi.runtime.set_all_config({})
    yield recording
    pulumi.runtime.set_all_config({})


def node(name: str, cpu: str, memory: str, **extra: Any) -> dict[str, Any]:
    """A node as the cluster's API tells it."""
    resources = {"cpu": cpu, "memory": memory, **extra.get("resources", {})}
    return {
        "metadata": {"name": name, "labels": extra.get("labels", {})},
        "spec": extra.get("spec", {}),
        "status": {
            "allocatable": resources,
            "addresses": extra.get(
                "addresses", [{"type": "InternalIP", "address": f"10.0.0.{len(name)}"}]
            ),
        },
    }


@dataclass
class FakeCluster:
    """Answers of the cluster's API, by path."""

    answers: dict[str, Any] = field(default_factory=dict)

    def get(self, _cluster: Cluster, path: str) -> dict[str, Any] | None:
        return self.answers.get(path)

    def nodes(self, *items: dict[str, Any]) -> None:
        self.answers["/api/v1/nodes"] = {"items": list(items)}


@pytest.fixture
def fake_cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    fake.nodes(node("one", "4", "16Gi"), node("worker", "2", "8000000Ki"))
    monkeypatch.setattr(api, "get", fake.get)
    monkeypatch.setattr(api, "identify", lambda context, *_: CLUSTER | {"context": context})
    monkeypatch.setattr(kubeconfig, "alone", lambda _: "the way to the cluster")
    return fake


KubeApi = dict[str, tuple[int, Any]]
"""Path -> status and document."""

GONE = (404, {"kind": "Status"})


@pytest.fixture
def kube_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    """Answers by path, of a server in place of the API, for tests to add to.

    What is made in a collection that has an answer is answered from then on; deleted, it is gone.
    KUBECONFIG has two contexts: `up` is that server, which wants a token; `down` does not answer.
    """
    answers: KubeApi = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(*answers.get(self.path, GONE))

        def do_POST(self) -> None:
            made = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, document = answers.get(self.path, GONE)
            if status == 200:
                path = f"{self.path}/{made['metadata']['name']}"
                status = 409 if path in answers else 201
                document = answers.setdefault(path, (200, made))[1]
            self.answer(status, document)

        def do_PATCH(self) -> None:
            change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, document = answers.get(self.path, GONE)
            if status == 200:
                for part, values in change.items():
                    document.setdefault(part, {}).update(values)
            self.answer(status, document)

        def do_DELETE(self) -> None:
            self.answer(*answers.pop(self.path, GONE))

        def answer(self, status: int, document: Any) -> None:
            if self.headers["Authorization"] != "Bearer t0ken":
                status = 401
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        servers = {"up": f"http://127.0.0.1:{server.server_port}", "down": "http://127.0.0.1:9"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "up",
            "clusters": [
                {"name": name, "cluster": {"server": url}} for name, url in servers.items()
            ],
            "users": [{"name": "user", "user": {"token": "t0ken"}}],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": "user"}} for name in servers
            ],
        }
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(file))
        yield answers
        server.shutdown()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with code, data and packages of its own; the working directory, as in a program."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text("print('training')\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images.gz").write_bytes(b"pictures")
    for file in (
        *("training/__init__.py", "training/agent/run.py", "training/mnist/train_mnist.py"),
        "training/datasets/download_mnist.py",
        *("serving/__init__.py", "store/__init__.py"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    (tmp_path / "serving" / "web").mkdir()
    (tmp_path / "serving" / "web" / "icon.png").write_bytes(b"\x89PNG")
    monkeypatch.setattr(packages, "REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


Configure = Callable[..., None]


@pytest.fixture
def configure(engine: Engine, project: Path) -> Configure:
    """Set the stack's configuration: what is required, and what the test says."""

    def set_config(**values: str | None) -> None:
        required: dict[str, str | None] = {
            "runtimeImage": "registry.example/dlstack:1",
            "dataDir": "data",
            "codeDir": "code",
            "bootFile": "train.py",
        }
        merged = required | values
        pulumi.runtime.set_all_config(
            {f"dlstack:{key}": value for key, value in merged.items() if value is not None},
            [f"dlstack:{key}" for key in SECRETS],
        )

    set_config()
    return set_config


SECRETS = ("s3AccessKey", "s3SecretKey", "s3SessionToken", "tlsKey", "token")

Up = Callable[..., Mapping[str, Any]]


@pytest.fixture
def up(engine: Engine, configure: Configure, fake_cluster: FakeCluster) -> Up:
    """Run the program with a configuration and return the stack's outputs, as far as known."""

    def run(**values: str | None) -> Mapping[str, Any]:
        configure(**values)
        outputs: dict[str, Any] = {}
        engine.resources.clear()

        @pulumi.runtime.test
        def whole_program() -> pulumi.Output[None]:
            built = {
                name: pulumi.Output.from_input(value)
                for name, value in stack.build(configuration.load()).items()
            }
            # One by one: what is made of several is unknown as soon as one of them is.
            for name, output in built.items():
                output.apply(lambda value, name=name: outputs.update({name: value}))
            return pulumi.Output.all(*built.values()).apply(lambda _: None)

        whole_program()
        # The provider says it, when it is certain that this is the stack's cluster.
        for identity in engine.created("pulumi-python:dynamic/stack:Identity"):
            if problem := identity.inputs["problem"]:
                raise pulumi.RunError(problem)
        return outputs

    return run

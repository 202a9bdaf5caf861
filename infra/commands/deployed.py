"""The stack that a command of `python -m infra` looks at: which one is selected, where it lies.

Its description is read from the cluster and not from Pulumi's outputs: those of a first `pulumi up`
are there when it has ended, and a training run is looked at while it goes on.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import yaml

from store.client import Client

from ..cluster import api, clusters, description
from ..cluster.clusters import Cluster
from ..cluster.served import Served
from ..resources import connection, deployed_store
from ..resources.connection import Store

_PULUMI_SECONDS = 60
"""`pulumi` asks its back end, which may be far."""


@dataclass(frozen=True)
class Selected:
    """A stack of the Pulumi project in the working directory."""

    name: str
    """`<project>-<stack>`, as in `Settings.stack`."""
    namespace: str
    context: str
    """Of the kubeconfig; empty for its current one."""
    identity: Mapping[str, Any] | None = None
    """What the state knows of it (`resources.identity`); None: never deployed."""
    folders: frozenset[str] = frozenset()
    """Digests of code and data that it has in the bucket, by its state."""
    versions: frozenset[Served] = frozenset()
    """Those that it publishes and serves, by its state."""
    given: frozenset[str] = frozenset()
    """Buckets that it uses and somebody else has made, by its state."""
    model: str = ""
    """`dlstack:model` as it is configured now; empty: none."""
    deploys: bool = True
    """`dlstack:deploy` as it is configured now."""


@dataclass(frozen=True)
class Deployed:
    """What a deployed stack says of itself (docs/contracts.md)."""

    name: str
    namespace: str
    cluster: Cluster
    host: str
    """Address under which clients reach node ports."""
    output_bucket: str
    model_name: str
    store: Store
    data_bucket: str = ""
    stack_id: str = ""
    """That of its buckets' marks."""
    public_host: str = ""
    """Address under which clients reach the prediction service, where one was set."""
    routes: Mapping[str, str] = field(default_factory=dict)
    """What an Ingress or a Gateway answers, by name."""
    pinned_version: int | None = None
    """The version that `dlstack:modelVersion` names; None: that of the configured run is."""
    deploys: bool = True
    """Whether what is published is served: `dlstack:deploy`."""

    def connect(self) -> Client:
        """Return a client of the object store, with the credentials of the stack's Secret."""
        return connection.connect(self.store)

    def get(self, path: str) -> dict[str, Any] | None:
        """Return an object of the cluster, or None."""
        return api.get(self.cluster, path)

    def path(self, kind: str) -> str:
        """Return the API path of what lies in the namespace: `apis/batch/v1/jobs/NAME`, or less."""
        parts = kind.split("/")
        version = 2 if parts[0] == "api" else 3
        return "/" + "/".join(
            [*parts[:version], "namespaces", self.namespace, *parts[version:]],
        )

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind; it may end in a query: `api/v1/pods?labelSelector=a=b`."""
        return api.items(self.cluster, self.path(kind))


class NotDeployed(pulumi.RunError):
    """The cluster knows nothing of the stack yet."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem} {advice}")
        self.problem = problem
        """Without what to do."""


def selected(stack: str | None) -> Selected:
    """Return the stack named `stack`, or else the one that Pulumi has selected.

    Raises:
        pulumi.RunError: there is no project, no `pulumi`, or no such stack.
    """
    folder = _project_folder(Path.cwd())
    name = stack or os.environ.get("PULUMI_STACK") or _pulumi("stack", "--show-name").strip()
    with ThreadPoolExecutor() as threads:
        asked = (("config", "--json"), ("stack", "export"))
        config, exported = threads.map(lambda words: _pulumi(*words, "--stack", name), asked)
    project = yaml.safe_load((folder / "Pulumi.yaml").read_text())["name"]
    # `organization/project/stack` is one of its full names.
    full = f"{project}-{name.rpartition('/')[2]}"
    values, state = json.loads(config), json.loads(exported)
    return Selected(
        full,
        _value(values, "dlstack:namespace") or _value(values, f"{project}:namespace") or full,
        _value(values, "kubernetes:context"),
        next(iter(_outputs(state, "stack:Identity")), None),
        frozenset(one["digest"] for one in _outputs(state, "s3:Folder") if one.get("digest")),
        frozenset(
            Served(one["model_name"], int(one["version"]))
            for kind in ("PublishedModel", "ImportedModel")
            for one in _outputs(state, f"models:{kind}")
            if one.get("version")
        ),
        frozenset(one["bucket"] for one in _outputs(state, "s3:Bucket") if one.get("given")),
        model=_value(values, "dlstack:model"),
        deploys=_value(values, "dlstack:deploy") != "false",
    )


def _outputs(state: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """Yield the outputs of the dynamic resources of a kind."""
    for resource in (state.get("deployment") or {}).get("resources") or ():
        if resource["type"] == f"pulumi-python:dynamic/{kind}":
            yield dict(resource.get("outputs") or {})


def find(stack: Selected) -> Deployed:
    """Return what the stack says of itself.

    Raises:
        NotDeployed: it is not, or `pulumi up` has not got that far.
        pulumi.RunError: it is not in this cluster.
    """
    cluster = Cluster(context=stack.context, uid="", server="")
    known = stack.identity
    place = known["namespace"] if known else stack.namespace
    told = description.find(cluster, place)
    own = told is not None and (
        told.stack_id == known["stack_id"] if known else told.stack == stack.name
    )
    if not told or not own:
        if (
            known
            and (here := _known_as(known["cluster"], stack.context))["uid"]
            != known["cluster"]["uid"]
        ):
            raise clusters.another(known["cluster"], here)
        if not told:
            raise NotDeployed(
                f"The stack '{stack.name}' is not deployed in the namespace '{place}', or "
                "'pulumi up' has not got that far.",
                "Run it, or wait a moment.",
            )
        raise pulumi.RunError(
            f"The namespace '{place}' belongs to the stack '{told.stack}', and not to the stack "
            f"'{stack.name}' that is selected. Correct dlstack:namespace, or choose another stack "
            "with --stack."
        )
    return Deployed(
        name=stack.name,
        namespace=place,
        cluster=cluster,
        host=told.host,
        public_host=told.public_host,
        routes=told.routes,
        output_bucket=told.output_bucket,
        data_bucket=told.data_bucket,
        stack_id=told.stack_id,
        model_name=told.model_name,
        pinned_version=told.pinned_version,
        deploys=told.deploys,
        store=deployed_store.of(told, cluster, place),
    )


def _known_as(cluster: Cluster, context: str) -> Cluster:
    return api.identify(context, clusters.known_by(cluster))


def _project_folder(folder: Path) -> Path:
    for above in (folder, *folder.parents):
        if (above / "Pulumi.yaml").is_file():
            return above
    raise pulumi.RunError(
        f"The folder '{folder}' has no Pulumi project. Go to the folder of Pulumi.yaml."
    )


def _pulumi(*words: str) -> str:
    """Return what a `pulumi` command prints."""
    command = f"`pulumi {' '.join(words)}`"
    program = shutil.which("pulumi")
    if program is None:
        raise pulumi.RunError(
            "There is no `pulumi` on PATH to ask for the stack. Install it, or run "
            '`eval "$(make env)"`, which has this machine\'s.'
        )
    try:
        done = subprocess.run(
            [program, *words, "--non-interactive"],
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PULUMI_SECONDS,
        )
    except subprocess.TimeoutExpired as exc:
        raise pulumi.RunError(
            f"{command} gave no answer in {_PULUMI_SECONDS} s. Check Pulumi's back end."
        ) from exc
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        # The first line says what is wrong; more of them give advice, as this one does.
        raise pulumi.RunError(
            f"{command} failed: {said[0].removeprefix('error: ').partition(';')[0]}. Choose a "
            "stack with --stack, PULUMI_STACK or 'pulumi stack select' ('pulumi stack ls' lists "
            "them)."
        )
    return done.stdout


def _value(config: Mapping[str, Any], key: str) -> str:
    return str(config.get(key, {}).get("value") or "")

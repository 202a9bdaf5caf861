"""Which stack this is, as a dynamic resource: its id, and where it is. This path is part of stacks'
states.

It is the first of all resources, in previews too, and refuses what would lose what the stack has.
"""

import uuid
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    UpdateResult,
)

from ..cluster import api, clusters, ending, given_namespace, namespace
from ..cluster.clusters import Cluster
from . import engine
from .provider import Provider, changed, inputs_of

_INPUTS = (
    "stack",
    "stack_id",
    "cluster",
    "namespace",
    "output_bucket",
    "in_stack",
    "force_destroy",
)


class _IdentityProvider(Provider):
    may_be_empty = frozenset({"problem"})

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        news["stack_id"] = news.get("stack_id") or olds.get("stack_id") or str(uuid.uuid4())
        if olds:
            _refuse_moves(olds, news)
        _lacks_mark(news, known=not changed(olds, news, "namespace"))
        if news["problem"]:
            raise pulumi.RunError(news["problem"])
        return super().check(olds, news)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # A mark that was taken away is put back.
        changes = bool(changed(olds, news, *_INPUTS)) or _lacks_mark(news, known=True)
        return DiffResult(changes=changes, replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        # Taken over from a state that is lost, the namespace may have another name of the stack.
        if _lacks_mark(props, known=False):
            _mark(props)
        return CreateResult(props["stack_id"], inputs_of(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        _require_cluster(props)
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        if _lacks_mark(news, known=True):
            _mark(news)
        return UpdateResult(inputs_of(news))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        _require_cluster(props)
        if _is_given(props):
            # Another goes with all that is in it.
            ending.await_stack(props["cluster"], props["namespace"], engine.tell)
            given_namespace.unmark(props["cluster"], props["namespace"], props["stack_id"])


def _refuse_moves(olds: Mapping[str, Any], news: Mapping[str, Any]) -> None:
    """Raise if what the state knows is elsewhere, or would be lost on the way to what is wanted."""
    if _is_given(olds) != _is_given(news):
        raise _another_kind(olds)
    # Namespaces that are given have UIDs of their own.
    elsewhere = _is_given(news) and changed(olds, news, "namespace")
    if olds["cluster"]["uid"] != news["cluster"]["uid"] and not elsewhere:
        raise clusters.another(olds["cluster"], news["cluster"])
    if olds["stack_id"] != news["stack_id"]:
        raise pulumi.RunError(
            f"dlstack:stackId is {news['stack_id']}, but this stack has the id "
            f"{olds['stack_id']}. Run 'pulumi config rm dlstack:stackId'. Only a new state can "
            "take over what another stack has: see 'When the state is lost' in docs/operations.md."
        )
    moves = changed(olds, news, "namespace")
    if not moves or not olds["in_stack"]:
        return
    renamed = (
        f"The stack '{olds['stack']}' is called '{news['stack']}' now. "
        if changed(olds, news, "stack")
        else ""
    )
    keep = [f"'pulumi config set dlstack:namespace {olds['namespace']}'"]
    if changed(olds, news, "output_bucket"):
        prefix = olds["output_bucket"].removesuffix("-output")
        keep.append(f"'pulumi config set dlstack:bucketPrefix {prefix}'")
    if news["force_destroy"]:
        engine.tell(
            f"{renamed}dlstack:forceDestroy is true: the object store of the namespace "
            f"'{olds['namespace']}' will be deleted with all models. {' and '.join(keep)} would "
            "keep them.",
            stays=True,
        )
        return
    raise pulumi.RunError(
        f"{renamed}In the namespace '{news['namespace']}' it would be without its models: they are "
        f"in the object store of the namespace '{olds['namespace']}', which would be deleted. Keep "
        f"them with {' and '.join(keep)}. To begin anew without them, set dlstack:forceDestroy to "
        "true."
    )


def _another_kind(olds: Mapping[str, Any]) -> pulumi.RunError:
    """Return the error of a stack that shall live in the other kind of namespace."""
    whose, back = "made itself", "'pulumi config rm dlstack:createNamespace'"
    if _is_given(olds):
        whose, back = "was given", "'pulumi config set dlstack:createNamespace false'"
    return pulumi.RunError(
        f"The stack is in the namespace '{olds['namespace']}', which it {whose}: "
        f"dlstack:createNamespace can't change any more. Run {back}, or make another stack."
    )


def _is_given(props: Mapping[str, Any]) -> bool:
    """Say whether the namespace is one that an administrator made."""
    return "namespace" in props["cluster"]


def _lacks_mark(props: Mapping[str, Any], *, known: bool) -> bool:
    require = given_namespace.require_free if _is_given(props) else namespace.require_own
    return require(
        props["cluster"], props["namespace"], props["stack"], props["stack_id"], known=known
    )


def _mark(props: Mapping[str, Any]) -> None:
    mark = given_namespace.mark if _is_given(props) else namespace.mark
    mark(props["cluster"], props["namespace"], props["stack"], props["stack_id"])


def _require_cluster(props: Mapping[str, Any]) -> None:
    """Raise unless the kubeconfig leads to the stack's cluster: what is elsewhere is not gone."""
    api.get(props["cluster"], f"/api/v1/namespaces/{props['namespace']}")


class Identity(Resource, module="stack", name="Identity"):
    """The stack, as its state knows it: a name may be another's, and may change."""

    stack_id: pulumi.Output[str]
    """What marks all that is the stack's. Known in previews."""
    namespace: pulumi.Output[str]
    """Its name, known when it is certain that it is the stack's, or free."""

    def __init__(
        self,
        name: str,
        *,
        stack: str,
        stack_id: str | None,
        cluster: Cluster,
        namespace: str,
        output_bucket: str,
        in_stack: bool,
        force_destroy: bool,
        problem: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare the stack.

        Args:
            name: logical name.
            stack: `<project>-<stack>`.
            stack_id: to take over what a stack has whose state is lost; None: as the state says.
            cluster: where it is.
            namespace: where it is in the cluster.
            output_bucket: with its models, for messages.
            in_stack: whether the object store goes with the namespace.
            force_destroy: let what it has go.
            problem: why this cluster can't hold the stack; empty if it can. Told when it is certain
                that it is the stack's: else it makes no sense.
            opts: resource options.
        """
        props = {
            "stack": stack,
            "stack_id": stack_id,
            "cluster": cluster,
            "namespace": namespace,
            "output_bucket": output_bucket,
            "in_stack": in_stack,
            "force_destroy": force_destroy,
            "problem": problem,
        }
        super().__init__(_IdentityProvider(), name, props, opts)

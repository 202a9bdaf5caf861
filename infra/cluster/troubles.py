"""Why the pods of a Deployment or a Job don't come up: read from what the cluster's API tells.

Pure functions over the API's JSON; nothing is asked here. What the cluster's messages mean is in
`messages`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import messages, names
from .jobs import queue_of
from .last_words import last_words
from .messages import Trouble
from .pods import Container, containers, owned_by

Document = Mapping[str, Any]

_RESTARTS = 3
"""A container that has failed more often than this will not go well the next time: with
Kubernetes' pauses of 10, 20 and 40 s that is after more than a minute."""

_AUTOSCALERS = ("TriggeredScaleUp", "NotTriggerScaleUp", "Nominated")
"""Reasons of events about pods that no node takes: Cluster Autoscaler's, and Karpenter's last."""


def of_deployment(
    deployment: Document,
    replica_sets: Iterable[Document],
    pods: Iterable[Document],
    events: Iterable[Document],
    claims: Iterable[Document] = (),
) -> Trouble | None:
    """Return what keeps the present template of `deployment` from serving; None if nothing does.

    Args:
        deployment: as the API tells it.
        replica_sets, pods, events, claims: of its namespace.
    """
    name = str(deployment["metadata"]["name"])
    revision = _revision(deployment)
    current = [
        one for one in replica_sets if owned_by(one, deployment) and _revision(one) == revision
    ]
    mine = [pod for pod in pods if any(owned_by(pod, one) for one in current)]
    listed = list(events)
    found = [*_of_pods(mine, name, listed, list(claims))]
    for one in current:
        for condition in one.get("status", {}).get("conditions", []):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                found.append(messages.refused(str(condition.get("message", "")), name))
    return _worst(found)


def of_job(
    job: Document,
    pods: Iterable[Document],
    events: Iterable[Document],
    claims: Iterable[Document] = (),
) -> Trouble | None:
    """Return what keeps the pods of `job` from running; None if nothing does.

    Of a pod that failed by itself nothing is said: what it says is the Job's own business.

    Args:
        job: as the API tells it.
        pods, events, claims: of its namespace. The pods of a Job whose time is over are gone:
            then the events of its pods tell what they waited for.
    """
    if (queue := queue_of(job)) is not None:
        return messages.queued(queue, str(job["metadata"].get("namespace", "")))
    mine = [pod for pod in pods if owned_by(pod, job)]
    listed = list(events)
    found = [*_of_pods(mine, names.TRAINING, listed, list(claims), failures=False)]
    found += [messages.leaving(pod["spec"]["nodeName"]) for pod in mine if leaves_its_node(pod)]
    missing = int(job["spec"].get("parallelism", 1)) - len([pod for pod in mine if _lives(pod)])
    if not found and missing > 0:
        found = [*_of_events(job, listed)]
    return _worst(found)


def _of_events(job: Document, events: Sequence[Document]) -> Iterator[Trouble]:
    """Yield what the events of a Job, and of its pods that are gone, say."""
    uid, prefix = job["metadata"]["uid"], f"{job['metadata']['name']}-"
    last = None
    for event in sorted(events, key=_last_seen):
        about, reason = event.get("involvedObject", {}), event.get("reason")
        message = str(event.get("message", ""))
        if about.get("uid") == uid:
            if reason == "FailedCreate":
                last = messages.refused(message, names.TRAINING)
        elif about.get("kind") == "Pod" and str(about.get("name", "")).startswith(prefix):
            if reason == "Started":
                last = None
            # Of a pod that is deleted while it waits it says "skip schedule deleting pod".
            elif reason == "FailedScheduling" and "nodes are available" in message:
                last = messages.unschedulable(message, names.TRAINING, [])
            elif reason == "Failed" and message.startswith("Failed to pull"):
                last = messages.image("", message, names.TRAINING)
            elif reason in ("FailedMount", "FailedAttachVolume"):
                last = messages.mount(message)
    if last is not None:
        yield last


def _of_pods(
    pods: Sequence[Document],
    component: str,
    events: Sequence[Document],
    claims: Sequence[Document],
    *,
    failures: bool = True,
) -> Iterator[Trouble]:
    for pod in pods:
        if not _lives(pod):
            reason = pod.get("status", {}).get("reason")
            if reason == "Evicted" or (reason and failures):
                yield _evicted(pod, component)
            continue
        if (message := _why_unscheduled(pod)) is not None:
            waits = messages.unschedulable(message, component, [*_of_claims(pod, claims, events)])
            about = _events_of(pod["metadata"]["uid"], events)
            scaled = [one for one in about if one.get("reason") in _AUTOSCALERS]
            for event in scaled[-1:]:
                said = str(event.get("message", ""))
                waits = messages.scaling(waits, event["reason"], said)
            yield waits
            continue
        for container in containers(pod):
            yield from _of_container(container, component, failures)
        if not any(container.started for container in containers(pod)):
            yield from _of_mounts(pod, events)


def _of_container(container: Container, component: str, failures: bool) -> Iterator[Trouble]:
    why, message = container.waiting, container.waiting_message
    if why in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"):
        never = why == "InvalidImageName"
        yield messages.image(container.image, message or why, component, hopeless=never)
    elif why in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        yield _not_created(container, message)
    elif failures and container.failed and not container.ready:
        yield _crashed(container, component)


def _not_created(container: Container, message: str) -> Trouble:
    if missing := re.search(r'(secret|configmap) "([^"]+)" not found', message):
        return messages.missing(missing[1], missing[2])
    what = f"the container '{container.name}' can't be made: {messages.end_of(message)}"
    return Trouble(what, "See 'kubectl describe pods'.", hopeless=False)


def _crashed(container: Container, component: str) -> Trouble:
    flavour = messages.keys(component).flavour
    often = container.restarts >= _RESTARTS
    times = f" {container.restarts + 1} times" if container.restarts else ""
    if container.end_reason == "OOMKilled":
        limit = f" than its {container.memory_limit}" if container.memory_limit else ""
        advice = f"Choose a bigger {flavour}." if flavour and container.is_main else ""
        what = f"the container '{container.name}' was killed{times}: it used more memory{limit}"
        # The next one would use as much.
        return Trouble(what, advice, hopeless=container.restarts >= 1)
    said = last_words(container.end_message) or container.end_reason
    advice = ""
    if "exec format error" in said:
        often, advice = True, messages.for_other_machines(messages.keys(component).image)
    if "Loading servable" in said:
        # The next one gets the same files.
        often = container.restarts >= 1
        advice = "Set dlstack:modelVersion to a version that can be loaded, or train another."
    last = f"{times}, the last time" if times else ""
    what = f"the container '{container.name}' ended{last} with exit status {container.exit_code}"
    return Trouble(f"{what}: {said.rstrip('.')}" if said else what, advice, hopeless=often)


def _evicted(pod: Document, component: str) -> Trouble:
    status = pod["status"]
    message = str(status.get("message", "")).rstrip(". ")
    flavour = messages.keys(component).flavour
    advice = f"Choose a bigger {flavour}, or free that resource on the node." if flavour else ""
    if flavour and messages.is_of_disk(message):
        advice = f"Give {flavour} a disk that is big enough: see dlstack:flavours."
    return Trouble(f"a pod ended: {status['reason']}: {message}", advice, hopeless=False)


def _why_unscheduled(pod: Document) -> str | None:
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return str(condition.get("message") or condition.get("reason") or "")
    return None


def _of_claims(
    pod: Document, claims: Sequence[Document], events: Sequence[Document]
) -> Iterator[Trouble]:
    """Yield why a pod's claims have no volume."""
    for volume in pod["spec"].get("volumes", []):
        wanted = volume.get("persistentVolumeClaim", {}).get("claimName")
        for claim in claims:
            metadata = claim["metadata"]
            if metadata["name"] != wanted or claim.get("status", {}).get("phase") == "Bound":
                continue
            about = _events_of(metadata["uid"], events)
            said = [
                str(event.get("message", ""))
                for event in about
                if event.get("reason") in ("ProvisioningFailed", "FailedBinding")
            ]
            if said:
                yield messages.unbound(claim, said[-1])


def _of_mounts(pod: Document, events: Sequence[Document]) -> Iterator[Trouble]:
    for event in reversed(_events_of(pod["metadata"]["uid"], events)):
        if event.get("reason") in ("FailedMount", "FailedAttachVolume"):
            yield messages.mount(str(event.get("message", "")))
            return
        if event.get("reason") == "FailedCreatePodSandBox":
            said = messages.end_of(str(event.get("message", "")))
            yield Trouble(f"its pod can't be started: {said}", "See the node's log.", False)
            return


def _worst(found: Sequence[Trouble]) -> Trouble | None:
    """Return the first one that is hopeless, or else the first."""
    return next((one for one in found if one.hopeless), found[0] if found else None)


def leaves_its_node(pod: Document) -> bool:
    """Say whether a pod was told to end since its node is lost or tainted, and has not ended."""
    status = pod.get("status", {})
    return (
        bool(pod["metadata"].get("deletionTimestamp"))
        and status.get("phase") not in ("Failed", "Succeeded")
        and any(
            one["type"] == "DisruptionTarget" and one.get("reason") == "DeletionByTaintManager"
            for one in status.get("conditions") or []
        )
    )


def _lives(pod: Document) -> bool:
    return pod.get("status", {}).get("phase") not in ("Failed", "Succeeded") and not pod[
        "metadata"
    ].get("deletionTimestamp")


def _revision(owner: Document) -> str:
    annotations = owner["metadata"].get("annotations") or {}
    return str(annotations.get("deployment.kubernetes.io/revision", ""))


def _events_of(uid: str, events: Iterable[Document]) -> list[Document]:
    """Return the events about an object, the newest last."""
    mine = [event for event in events if event.get("involvedObject", {}).get("uid") == uid]
    return sorted(mine, key=_last_seen)


def _last_seen(event: Document) -> str:
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or "")

"""Why pods don't come up, in words of whoever deploys: read from what the cluster's API tells.

Pure functions over the API's JSON; nothing is asked here. Each reason says whether waiting may
help, and what to change: a configuration key where one decides it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import names
from .last_words import last_words
from .pods import Container, containers, owned_by

Document = Mapping[str, Any]

_RESTARTS = 3
"""A container that has failed more often than this will not go well the next time: with
Kubernetes' pauses of 10, 20 and 40 s that is after more than a minute."""


@dataclass(frozen=True)
class Trouble:
    """Why something does not come up."""

    reason: str
    """What is wrong, without a full stop at its end."""
    advice: str
    """What to do, in whole sentences."""
    hopeless: bool
    """Whether it stays so until somebody changes something."""

    def __str__(self) -> str:
        return f"{self.reason}. {self.advice}".strip()


@dataclass(frozen=True)
class _Keys:
    """The configuration keys that decide how a component's pods are."""

    image: str = "dlstack:runtimeImage"
    flavour: str = ""
    """Empty: the size of its pods is fixed."""


_KEYS = {
    names.TRAINING: _Keys("dlstack:image", "dlstack:flavour"),
    names.PREDICTION: _Keys(flavour="dlstack:servingFlavour"),
}


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
                found.append(_refused(str(condition.get("message", "")), name))
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
    mine = [pod for pod in pods if owned_by(pod, job)]
    listed = list(events)
    found = [*_of_pods(mine, names.TRAINING, listed, list(claims), failures=False)]
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
                last = _refused(message, names.TRAINING)
        elif about.get("kind") == "Pod" and str(about.get("name", "")).startswith(prefix):
            if reason == "Started":
                last = None
            # Of a pod that is deleted while it waits it says "skip schedule deleting pod".
            elif reason == "FailedScheduling" and "nodes are available" in message:
                last = _unschedulable(message, names.TRAINING, [])
            elif reason == "Failed" and message.startswith("Failed to pull"):
                last = _image("", message, names.TRAINING)
            elif reason in ("FailedMount", "FailedAttachVolume"):
                last = _mount(message)
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
            yield _unschedulable(message, component, [*_of_claims(pod, claims, events)])
            continue
        for container in containers(pod):
            yield from _of_container(container, component, failures)
        if not any(container.started for container in containers(pod)):
            yield from _of_mounts(pod, events)


def _of_container(container: Container, component: str, failures: bool) -> Iterator[Trouble]:
    why, message = container.waiting, container.waiting_message
    if why in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"):
        yield _image(container.image, message or why, component, hopeless=why.startswith("Inv"))
    elif why in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        yield _not_created(container, message)
    elif failures and container.failed and not container.ready:
        yield _crashed(container, component)


def _image(image: str, message: str, component: str, hopeless: bool = False) -> Trouble:
    image = image or (_first(r'image "([^"]+)"', message) or "")
    message = re.sub(r'^(Back-off pulling|Failed to pull) image "[^"]*"(: )?', "", message)
    message = re.sub(r"rpc error: code = \w+ desc = ", "", message)
    missing = re.search(
        r"not found|manifest unknown|denied|unauthorized|authorization failed|not present|no match",
        # Of an address that has no name a registry will not tell; it may pass.
        message.replace("host not found", ""),
    )
    if "tensorflow/serving" in image:
        advice = "Let the nodes have it, or set dlstack:servingEngine to embedded."
    else:
        advice = f"Set {_keys(component).image} to an image that the nodes can get."
    what = f"the image '{image}' can't be pulled" if image else "the image can't be pulled"
    detail = _end_of(message)
    return Trouble(f"{what}: {detail}" if detail else what, advice, hopeless or bool(missing))


def _not_created(container: Container, message: str) -> Trouble:
    if missing := re.search(r'(secret|configmap) "([^"]+)" not found', message):
        return _missing(missing[1], missing[2])
    what = f"the container '{container.name}' can't be made: {_end_of(message)}"
    return Trouble(what, "See 'kubectl describe pods'.", hopeless=False)


def _missing(kind: str, name: str) -> Trouble:
    written = {"secret": "Secret", "configmap": "ConfigMap"}[kind]
    return Trouble(
        f"the {written} '{name}' is not there",
        "Run 'pulumi up --refresh', which makes it again.",
        hopeless=True,
    )


def _crashed(container: Container, component: str) -> Trouble:
    flavour = _keys(component).flavour
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
    if "Loading servable" in said:
        # The next one gets the same files.
        often = container.restarts >= 1
        advice = "Set dlstack:modelVersion to a version that can be loaded, or train another."
    last = f"{times}, the last time" if times else ""
    what = f"the container '{container.name}' ended{last} with exit status {container.exit_code}"
    return Trouble(f"{what}: {said.rstrip('.')}" if said else what, advice, hopeless=often)


def _evicted(pod: Document, component: str) -> Trouble:
    status = pod["status"]
    flavour = _keys(component).flavour
    return Trouble(
        f"a pod ended: {status['reason']}: {str(status.get('message', '')).rstrip('. ')}",
        f"Choose a bigger {flavour}, or free that resource on the node." if flavour else "",
        hopeless=False,
    )


def _why_unscheduled(pod: Document) -> str | None:
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return str(condition.get("message") or condition.get("reason") or "")
    return None


def _unschedulable(message: str, component: str, claims: Sequence[Trouble]) -> Trouble:
    """Return why no node takes a pod. A node that comes may, so only a claim makes it hopeless."""
    if claims:
        return claims[0]
    flavour = _keys(component).flavour
    # "0/3 nodes are available: 1 Insufficient cpu, 2 …. preemption: …": the rest repeats it.
    nodes = message.partition(". ")[0].rstrip(".")
    if "olume" in nodes:
        return Trouble(
            f"no volume for it is free ({nodes})",
            "Free one, or set dlstack:storageClass and dlstack:storageSize to what the cluster "
            "has.",
            hopeless=False,
        )
    if "Insufficient" in nodes or "Too many pods" in nodes:
        smaller = f"Choose a smaller {flavour}, add" if flavour else "Add"
        return Trouble(
            f"no node has room for its pod ({nodes})",
            f"{smaller} a node, or wait for what runs there.",
            hopeless=False,
        )
    if "selector" in nodes or "taint" in nodes:
        correct = f"Correct nodeSelector and tolerations of {flavour} in dlstack:flavours, or label"
        return Trouble(
            f"no node takes its pod ({nodes})",
            f"{correct if flavour else 'Add'} a node.",
            hopeless=False,
        )
    return Trouble(
        f"no node takes its pod ({nodes})", "See 'kubectl describe nodes'.", hopeless=False
    )


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
                yield _unbound(claim, said[-1])


def _unbound(claim: Document, message: str) -> Trouble:
    metadata = claim["metadata"]
    again = (
        "to one that 'kubectl get storageclass' lists. Then run 'kubectl delete pvc "
        f"{metadata['name']} --namespace {metadata['namespace']}' and 'pulumi up --refresh'."
    )
    if name := _first(r'storageclass[\w.]* "([^"]+)" not found', message):
        return Trouble(
            f"the cluster has no storage class '{name}'", f"Set dlstack:storageClass {again}", True
        )
    if "no storage class is set" in message:
        return Trouble(
            "the cluster has no default storage class, and no free volume",
            f"Set dlstack:storageClass {again}",
            hopeless=True,
        )
    return Trouble(
        f"the claim '{metadata['name']}' has no volume: {message.rstrip('. ')}",
        "Check dlstack:storageClass and dlstack:storageSize.",
        hopeless=False,
    )


def _of_mounts(pod: Document, events: Sequence[Document]) -> Iterator[Trouble]:
    for event in reversed(_events_of(pod["metadata"]["uid"], events)):
        if event.get("reason") in ("FailedMount", "FailedAttachVolume"):
            yield _mount(str(event.get("message", "")))
            return
        if event.get("reason") == "FailedCreatePodSandBox":
            said = _end_of(str(event.get("message", "")))
            yield Trouble(f"its pod can't be started: {said}", "See the node's log.", False)
            return


def _mount(message: str) -> Trouble:
    if missing := re.search(r'(secret|configmap) "([^"]+)" not found', message):
        return _missing(missing[1], missing[2])
    return Trouble(f"a volume can't be mounted: {_end_of(message)}", "", hopeless=False)


def _refused(message: str, component: str) -> Trouble:
    """Return why the cluster's API refuses to make a pod."""
    flavour = _keys(component).flavour
    said = re.sub(r"^Error creating: ", "", message)
    said = re.sub(r'^(admission webhook .*?)?pods "[^"]*" (is|are) forbidden: ', "", said)
    said = said.rstrip(". ")
    if "exceeded quota" in said:
        smaller = f"choose a smaller {flavour}, " if flavour else ""
        advice = f"Raise the quota of the namespace, {smaller}or wait until something there ends."
        return Trouble(f"the namespace's quota is used up: {said}", advice, hopeless=False)
    if "failed quota" in said:
        advice = "Give the namespace a LimitRange with defaults for it."
        return Trouble(f"a quota asks for what the pods don't have: {said}", advice, True)
    if re.search(r"(minimum|maximum) \S+ usage per|max limit to request ratio", said):
        change = f"Choose another {flavour}, or change" if flavour else "Change"
        advice = f"{change} the LimitRange of the namespace."
        return Trouble(f"a LimitRange refuses the pod: {said}", advice, hopeless=True)
    if "being terminated" in said:
        advice = "Wait until it is gone ('kubectl get namespaces'), then run 'pulumi up' again."
        return Trouble("the namespace is being deleted", advice, hopeless=True)
    if "violates PodSecurity" in said:
        advice = (
            "Take back what changed the namespace's pod-security labels: 'pulumi up --refresh'."
        )
        return Trouble(f"the namespace's Pod Security Standard refuses it: {said}", advice, True)
    if "ValidatingAdmissionPolicy" in said or "denied the request" in said:
        advice = "Ask whoever runs the cluster to let this namespace's pods pass."
        return Trouble(f"a policy of the cluster refuses the pod: {said}", advice, hopeless=True)
    return Trouble(f"the cluster refuses to make the pod: {said}", "", hopeless=False)


def _worst(found: Sequence[Trouble]) -> Trouble | None:
    """Return the first one that is hopeless, or else the first."""
    return next((one for one in found if one.hopeless), found[0] if found else None)


def _keys(component: str) -> _Keys:
    return _KEYS.get(component, _Keys())


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


def _first(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1] if match else None


def _end_of(message: str) -> str:
    """Return the last parts of a message whose parts go from general to exact: `a: b: c`."""
    parts = " ".join(message.split()).rstrip(". ").split(": ")
    end = parts.pop()
    while parts and len(end) + len(parts[-1]) < 120:
        end = f"{parts.pop()}: {end}"
    return end

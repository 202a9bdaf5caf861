"""What the messages of a cluster mean for whoever deploys, and which key to change.

Pure functions from a message, as the API, the scheduler or a kubelet writes it, to a `Trouble`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import names


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


def image(image: str, message: str, component: str, hopeless: bool = False) -> Trouble:
    """Return why an image can't be pulled. Without its name (empty) the message has it."""
    image = image or (_first(r'image "([^"]+)"', message) or "")
    message = re.sub(r'^(Back-off pulling|Failed to pull) image "[^"]*"(: )?', "", message)
    message = re.sub(r"rpc error: code = \w+ desc = ", "", message)
    refuses = re.search(
        r"not found|manifest unknown|denied|unauthorized|authorization failed|not present|no match",
        # Of an address that has no name a registry will not tell; it may pass.
        message.replace("host not found", ""),
    )
    if "tensorflow/serving" in image:
        advice = "Let the nodes have it, or set dlstack:servingEngine to embedded."
    elif "for platform" in message:
        advice = for_other_machines(keys(component).image)
    elif re.search(r"denied|unauthorized|authorization failed|authentication", message):
        advice = (
            f"Set {keys(component).image} to an image that the nodes can get, or "
            "dlstack:imagePullSecrets to a Secret with which the registry lets them."
        )
    else:
        advice = f"Set {keys(component).image} to an image that the nodes can get."
    what = f"the image '{image}' can't be pulled" if image else "the image can't be pulled"
    detail = end_of(message)
    return Trouble(f"{what}: {detail}" if detail else what, advice, hopeless or bool(refuses))


def for_other_machines(image_key: str) -> str:
    """Return what to do about an image that is for nodes of another architecture."""
    return (
        f"The image is for machines of another kind. Build that of {image_key} for this one, or "
        'choose nodes: \'pulumi config set --path dlstack:nodeSelector["kubernetes.io/arch"] '
        "amd64'."
    )


def missing(kind: str, name: str) -> Trouble:
    """Return that a pod's `secret` or `configmap` is not there."""
    written = {"secret": "Secret", "configmap": "ConfigMap"}[kind]
    return Trouble(
        f"the {written} '{name}' is not there",
        "Run 'pulumi up --refresh', which makes it again.",
        hopeless=True,
    )


def queued(queue: str, namespace: str) -> Trouble:
    """Return that a Job waits for its queue to have room."""
    return Trouble(
        f"its Job is suspended until the queue '{queue}' has room",
        f"'kubectl get workloads,localqueues --namespace {namespace}' shows what it waits for.",
        hopeless=False,
    )


def mount(message: str) -> Trouble:
    """Return why a volume can't be mounted."""
    if gone := re.search(r'(secret|configmap) "([^"]+)" not found', message):
        return missing(gone[1], gone[2])
    if "Multi-Attach" in message:
        return Trouble(
            "its volume is still attached to the node where it was used before",
            "If that node is lost, Kubernetes detaches it after 6 minutes, or at once: 'kubectl "
            "taint nodes NODE node.kubernetes.io/out-of-service=nodeshutdown:NoExecute', when the "
            "machine is off for sure.",
            hopeless=False,
        )
    return Trouble(f"a volume can't be mounted: {end_of(message)}", "", hopeless=False)


def unschedulable(message: str, component: str, claims: Sequence[Trouble]) -> Trouble:
    """Return why no node takes a pod. A node that comes may, so only a claim makes it hopeless."""
    if claims:
        return claims[0]
    flavour = keys(component).flavour
    # "0/3 nodes are available: 1 Insufficient cpu, 2 …. preemption: …": the rest repeats it.
    nodes = message.partition(". ")[0].rstrip(".")
    # Of a volume on one node's disk; before 1.33: "had volume node affinity conflict".
    if re.search(r"PersistentVolume's node affinity|volume node affinity", nodes):
        return Trouble(
            f"its volume can't leave its node, which takes no pods now ({nodes})",
            "Bring that node back, or uncordon it ('kubectl get nodes'): the data is on its disk. "
            "The volume of a new stack may be one of the network: dlstack:storageClass.",
            hopeless=False,
        )
    if "olume" in nodes:
        return Trouble(
            f"no volume for it is free ({nodes})",
            "Free one, or set dlstack:storageClass and dlstack:storageSize to what the cluster "
            "has.",
            hopeless=False,
        )
    if "Insufficient" in nodes or "Too many pods" in nodes:
        smaller = f"Choose a smaller {flavour}, add" if flavour else "Add"
        wait = "or wait for what runs there"
        if component == names.PREDICTION:
            wait = (
                "wait for what runs there, or, if an old pod does, have it end first ('pulumi "
                "config set dlstack:servingSurge never')"
            )
        return Trouble(
            f"no node has room for its pod ({nodes})",
            f"{smaller} a node, {wait}.",
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


def scaling(waits: Trouble, reason: str, message: str) -> Trouble:
    """Return what an autoscaler's event about a pod adds to why no node takes it."""
    if reason == "NotTriggerScaleUp":
        why_not = end_of(message.partition(": ")[2] or message)
        return Trouble(f"{waits.reason}; none is made: {why_not}", waits.advice, waits.hopeless)
    return Trouble(f"{waits.reason}; one is being made", "", hopeless=False)


def leaving(node: str) -> Trouble:
    """Return that a pod has to leave a node, and has not ended there."""
    return Trouble(
        f"its pod has to leave the node '{node}', which may be lost, and has not ended there",
        "'pulumi up' and 'python -m infra logs -f' give it up if the node does not answer.",
        hopeless=False,
    )


def unbound(claim: Mapping[str, Any], message: str) -> Trouble:
    """Return why a claim gets no volume."""
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


def is_of_disk(message: str) -> bool:
    """Say whether a kubelet has evicted a pod for what it, or others, had on the node's disk."""
    return "ephemeral" in message or "EmptyDir" in message


def refused(message: str, component: str) -> Trouble:
    """Return why the cluster's API refuses to make a pod."""
    flavour = keys(component).flavour
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
    if above := _first(r"must be less than or equal to (\S+ limit)", said):
        field = {"cpu limit": "cpuLimit", "ephemeral-storage limit": "disk"}.get(above)
        own = f"Give the flavour a {field} in dlstack:flavours, or change" if field else "Change"
        advice = f"{own} the default of the namespace's LimitRange."
        return Trouble(f"a default {above} is below what the pod reserves: {said}", advice, True)
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


def keys(component: str) -> _Keys:
    """Return which configuration keys decide how the pods of a component are."""
    return _KEYS.get(component, _Keys())


def _first(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1] if match else None


def end_of(message: str) -> str:
    """Return the last parts of a message whose parts go from general to exact: `a: b: c`."""
    parts = " ".join(message.split()).rstrip(". ").split(": ")
    end = parts.pop()
    while parts and len(end) + len(parts[-1]) < 120:
        end = f"{parts.pop()}: {end}"
    return end

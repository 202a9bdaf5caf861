"""The rules that Kubernetes, S3 and the model server have for names, and the common labels.

A name that breaks a rule is refused, never shortened or rewritten in silence.
"""

import re

import pulumi

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_BUCKET = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MODEL = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*")

OBJECT_STORE = "object-store"
"""DNS name of the in-stack object store, and the Secret with its credentials: a contract."""

WORKERS = "training-workers"
"""DNS name below which the pods of a training run on several nodes have theirs."""

TENSORBOARD = "tensorboard"
PREDICTION = "prediction"
TRAINING = "training"

DESCRIPTION = "stack"
"""The ConfigMap in which a stack says what its commands have to know: a contract."""

RUN_HASH_ANNOTATION = "dlstack.dev/run-hash"
ATTEMPT_ANNOTATION = "dlstack.dev/attempt"
"""Of the pods of a training Job."""


def namespace(name: str) -> str:
    """Return `name` if Kubernetes takes it as a namespace."""
    if len(name) > 63 or not _DNS_LABEL.fullmatch(name):
        raise pulumi.RunError(
            f"'{name}' can't name a namespace: at most 63 lower-case letters, digits and '-', "
            "with a letter or digit at both ends. Set dlstack:namespace."
        )
    return name


def bucket(prefix: str, role: str) -> str:
    """Return the name of the bucket for `role`, if S3 takes it.

    Dots are legal in bucket names but break TLS with virtual-host addressing, so they are refused.
    """
    name = f"{prefix}-{role}"
    if not 3 <= len(name) <= 63 or not _BUCKET.fullmatch(name):
        raise pulumi.RunError(
            f"'{name}' can't name a bucket: 3 to 63 lower-case letters, digits and '-', with a "
            "letter or digit at both ends. Set dlstack:bucketPrefix."
        )
    return name


def model(name: str) -> str:
    """Return `name` if it can be a model name: part of URLs, object keys and file paths."""
    if len(name) > 100 or not _MODEL.fullmatch(name):
        raise pulumi.RunError(
            f"'{name}' can't name a model: at most 100 letters, digits, '-', '_' and '.', with a "
            "letter or digit first. Set dlstack:modelName."
        )
    return name


def selector(component: str, instance: str) -> dict[str, str]:
    """Return the labels by which a Deployment and a Service find the pods of `component`."""
    return {"app.kubernetes.io/name": component, "app.kubernetes.io/instance": instance}


def labels(component: str, instance: str) -> dict[str, str]:
    """Return the labels of every object of `component`.

    Old Kubernetes plugins write `managed-by: pulumi` by themselves; the same value here keeps
    old and new ones from undoing each other's work.
    """
    return selector(component, instance) | {
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "dlstack",
        "app.kubernetes.io/managed-by": "pulumi",
    }

"""Names, labels and annotations of a stack's objects in the cluster."""

import hashlib
from typing import Any

OBJECT_STORE = "object-store"
"""DNS name of the in-stack object store, and the Secret with its credentials: a contract."""

OBJECT_STORE_PORT = "s3"
"""Name of its port, in Service and pod."""

WORKERS = "training-workers"
"""DNS name below which the pods of a training run on several nodes have theirs."""

TENSORBOARD = "tensorboard"
TENSORBOARD_PORT = "http"
"""Name of its port, in Service and pod."""

PREDICTION = "prediction"
SERVER = "server"
"""The container that answers, of the prediction service's pods."""
TRAINING = "training"
MODEL_CHECK = "model-check"
"""What models are tried with before they are published: a ConfigMap, and a file in it."""

MONITOR = "metrics"
"""The PodMonitor, where the Prometheus operator is, and the ConfigMap by which the model server
shows its numbers."""

PROXY = "proxy"
"""The Secret with the proxy variables of pods, where `dlstack:proxy` is set."""

SECRET_ENV = "training-env"
"""The Secret with the boot file's secret variables, where `dlstack:secretEnv` is set."""

DESCRIPTION = "stack"
"""The ConfigMap in which a stack says what its commands have to know: a contract."""

SERVED = "served"
"""The ConfigMap that says which version of which model is served: a contract."""

STACK_LABEL = "dlstack.dev/stack"
"""Label of a namespace: the stack that made it, for people."""

STACK_ID_LABEL = "dlstack.dev/stack-id"
"""Label of a namespace: the id of the stack whose it is. Two people may have stacks of one name."""

PART_OF_LABEL = "app.kubernetes.io/part-of"
PART_OF = "dlstack"
"""Label of every object and pod of a stack, and its value."""

SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
"""Annotation of what Pulumi's Kubernetes plugin makes without waiting until it is ready."""

REASON_ANNOTATION = "dlstack.dev/reason"
"""Of a training Job: why it waited or ended, for `status` when events and pods are gone."""

RUN_HASH_ANNOTATION = "dlstack.dev/run-hash"
ATTEMPT_ANNOTATION = "dlstack.dev/attempt"
COMMIT_ANNOTATION = "dlstack.dev/commit"
"""Of the pods of a training Job: a contract."""

DIGEST_ANNOTATION = "dlstack.dev/settings"
"""Of a training Job: the digest of the settings that it was made of."""

SCALE_ANNOTATION = "dlstack.dev/scale"
"""Of the prediction service's Deployment: from how many to how many pods it has."""

STORE_KEYS_ANNOTATION = "dlstack.dev/store-keys"
"""Of pods that have to start anew when the object store's credentials change."""

PROXY_ANNOTATION = "dlstack.dev/proxy"
"""Of pods that have to start anew when the proxy to the world is another one."""


def store_secret(endpoint: str, region: str) -> str:
    """Return the name of the Secret with the credentials of a store outside of the stack.

    While a stack moves from one store to another, each has its Secret.
    """
    digest = hashlib.sha256(f"{endpoint} {region}".encode()).hexdigest()
    return f"{OBJECT_STORE}-{digest[:8]}"


def marks(stack: str, stack_id: Any) -> dict[str, Any]:
    """Return the labels of a namespace that say whose it is."""
    return {STACK_LABEL: stack, STACK_ID_LABEL: stack_id}


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
        PART_OF_LABEL: PART_OF,
        "app.kubernetes.io/managed-by": "pulumi",
    }

"""What all pods of a stack have, whatever they run: what a company's cluster asks of a pod."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from .flavour import Flavour, Toleration

USER = 65532
"""User and group of every process; no file of the images belongs to them."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Of a Job that Kueue starts when its queue has room: suspended until then, and told to wait."""


@dataclass(frozen=True, kw_only=True)
class PodDefaults:
    """Of all pods of a stack."""

    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets of the namespace, for registries that want to know who asks."""
    service_account: str | None = None
    """None: the namespace's default one. No pod gets its token: none asks the cluster."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Beside the stack's own."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    priority_class: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes that they run on."""
    tolerations: tuple[Toleration, ...] = ()
    user: int | None = USER
    """User and group; None: the cluster gives each namespace ids of its own, as OpenShift does."""

    def placed(self, flavour: Flavour) -> Flavour:
        """Return `flavour` on the nodes of all pods; what it says itself of a label counts."""
        return dataclasses.replace(
            flavour,
            node_selector={**self.node_selector, **flavour.node_selector},
            own_tolerations=(*self.tolerations, *flavour.own_tolerations),
        )

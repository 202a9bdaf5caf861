"""The Kubernetes provider of the stack, which all its objects get, with what marks them as its own.

Pulumi's default provider follows the shell: `pulumi refresh` and `destroy` would look for the
stack's objects in whatever cluster KUBECONFIG leads to, and forget those that are not there.
"""

from typing import Any

import pulumi
from pulumi_kubernetes import Provider

from ..cluster import kubeconfig
from ..cluster.clusters import Cluster

ANNOTATIONS = {
    # Take over what is there already, and take back what others have edited.
    "pulumi.com/patchForce": "true",
    # One for all: by default each `up` that makes an object anew is another one.
    "pulumi.com/patchFieldManager": "dlstack",
}


def declare(cluster: Cluster, after: pulumi.Resource) -> None:
    """Declare the provider, and give it to all Kubernetes objects declared from now on.

    Args:
        cluster: where they go; the provider keeps the way to it, in the state, as a secret.
        after: what has to be made first.
    """
    provider = Provider(
        "kubernetes",
        kubeconfig=pulumi.Output.secret(kubeconfig.alone(cluster["context"])),
        # Another address or other credentials of the same cluster replace nothing.
        cluster_identifier=cluster["uid"],
        # What is there already is of an `up` that was killed before it could note it down.
        upsert_existing_objects=True,
        # What a stack says of itself is not gone for a moment when it changes.
        enable_secret_mutable=True,
        enable_config_map_mutable=True,
        # Whatever the shell says: the state outlives a cluster that does not answer.
        delete_unreachable=False,
        skip_update_unreachable=False,
        enable_server_side_apply=True,
        opts=pulumi.ResourceOptions(depends_on=[after]),
    )

    def mark(
        args: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith("kubernetes:"):
            return None
        metadata: Any = args.props["metadata"]
        metadata.annotations = {**ANNOTATIONS, **(metadata.annotations or {})}
        own = pulumi.ResourceOptions(provider=provider)
        if args.type_ == "kubernetes:core/v1:Secret":
            # A Secret that somebody has put there with `kubectl apply` has all that it holds in an
            # annotation, and a refresh would write that into the state as it is.
            own.additional_secret_outputs = ["metadata"]
        opts = pulumi.ResourceOptions.merge(args.opts, own)
        return pulumi.ResourceTransformationResult(args.props, opts)

    pulumi.runtime.register_stack_transformation(mark)

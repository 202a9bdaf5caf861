"""A namespace as an administrator makes it for a team, and a user with no right outside of it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from local.home import REPOSITORY

_USER = "deployer"
_HOURS = 2

LIMITS: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {
            "hard": {
                "pods": "12",
                "requests.cpu": "4",
                "requests.memory": "12Gi",
                "limits.cpu": "24",
                "limits.memory": "40Gi",
                "requests.ephemeral-storage": "40Gi",
                "limits.ephemeral-storage": "80Gi",
                "persistentvolumeclaims": "2",
                "services.loadbalancers": "1",
            }
        },
    },
    {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "team"},
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    # What the quota asks for, and the stack's own containers don't say.
                    "default": {"cpu": "2", "ephemeral-storage": "4Gi"},
                    "defaultRequest": {"ephemeral-storage": "1Gi"},
                    "max": {"memory": "8Gi"},
                }
            ]
        },
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny-all"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    },
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": _USER}},
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": _USER},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "dlstack-deployer",
        },
        "subjects": [{"kind": "ServiceAccount", "name": _USER}],
    },
]
"""What is in the namespace beside the Roles of examples/role.yaml."""


@contextmanager
def given_namespace(name: str, variables: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Make the namespace; give the variables of its user. It is deleted at the end.

    Args:
        name: of the namespace.
        variables: of an administrator.
    """

    def kubectl(*words: str, given: str | None = None) -> str:
        return subprocess.run(
            ["kubectl", *words],
            input=given,
            env={**os.environ, **variables},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": restricted},
    }
    kubectl("delete", "namespace", name, "--ignore-not-found")
    kubectl("create", "--filename=-", given=json.dumps(namespace))
    try:
        role = str(REPOSITORY / "examples" / "role.yaml")
        kubectl("apply", f"--namespace={name}", f"--filename={role}")
        kubectl("apply", f"--namespace={name}", "--filename=-", given=yaml.dump_all(LIMITS))
        # Until it is counted what there is, all is refused that counts: "status unknown for quota".
        counted = f"--for=jsonpath={{.status.hard.pods}}={LIMITS[0]['spec']['hard']['pods']}"
        words = ("wait", f"--namespace={name}", counted, "resourcequota/team", "--timeout=180s")
        kubectl(*words)
        token = kubectl(
            *("create", "token", _USER, f"--namespace={name}", f"--duration={_HOURS}h")
        ).strip()
        config = json.loads(kubectl("config", "view", "--minify", "--raw", "--output=json"))
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = Path(folder) / "kubeconfig"
            kubeconfig.write_text(json.dumps(config))
            kubeconfig.chmod(0o600)
            yield {**variables, "KUBECONFIG": str(kubeconfig)}
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

"""The person's kubeconfig: which file, which server, and the part of it that a stack keeps."""

import base64
import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pulumi

_POD_FILES = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_NAME = "dlstack"
"""Of cluster, user and context in what a stack keeps: a person's own names don't change it."""


def name() -> str:
    """Return the kubeconfig's path, or several with ':' between them."""
    return os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")


def is_of_the_pod() -> bool:
    """Say whether this process is in a pod and has no kubeconfig but the pod's own credentials."""
    files = filter(None, name().split(os.pathsep))
    return "KUBERNETES_SERVICE_HOST" in os.environ and not any(map(os.path.exists, files))


def unusable(problem: str) -> pulumi.RunError:
    """Return the error of a kubeconfig that can't be used."""
    return pulumi.RunError(
        f"No Kubernetes cluster is configured: {problem.rstrip('.')}. "
        "Set KUBECONFIG to a kubeconfig file, and kubernetes:context to one of its contexts."
    )


def server(context: str) -> str:
    """Return the URL of the API that a context leads to; empty: the current one."""
    return str(_parts(context)[0]["server"])


def document(context: str) -> dict[str, Any]:
    """Return a kubeconfig with one context and nothing that lies in other files.

    The same as `kubectl config view --minify --flatten --raw`, but for names.
    """
    cluster, user = _parts(context)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _NAME, "cluster": cluster}],
        "users": [{"name": _NAME, "user": user}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME}}],
        "current-context": _NAME,
    }


def is_of_this_machine(chosen: Mapping[str, Any]) -> bool:
    """Say whether a `document` names a server of this machine, as that of kind or minikube does.

    Not if it names the proxy that leads there.
    """
    cluster = chosen["clusters"][0]["cluster"]
    host = urlsplit(cluster["server"]).hostname or ""
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    return is_here and "proxy-url" not in cluster


def alone(context: str) -> str:
    """Return `document` as a text: the same for whoever has the same server and credentials."""
    return json.dumps(document(context), sort_keys=True)


def _parts(context: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `cluster` and `user` of a context, with the files' content in place of their names."""
    if is_of_the_pod():
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        return (
            {
                "server": f"https://{f'[{host}]' if ':' in host else host}:{port}",
                "certificate-authority-data": _content(_POD_FILES / "ca.crt"),
            },
            # Kubernetes writes another token into the file from time to time.
            {"tokenFile": str(_POD_FILES / "token")},
        )
    documents = _documents()
    wanted = context or next(
        (str(found) for _, one in documents if (found := one.get("current-context"))), ""
    )
    _, chosen = _entry(documents, "context", wanted)
    folder, cluster = _entry(documents, "cluster", chosen.get("cluster", ""))
    cluster = _with_content(cluster, folder, ("certificate-authority",))
    if "server" not in cluster:
        raise unusable(f"the cluster '{chosen.get('cluster')}' of the kubeconfig has no server")
    user: dict[str, Any] = {}
    if chosen.get("user"):
        folder, user = _entry(documents, "user", chosen["user"])
        user = _with_content(user, folder, ("client-certificate", "client-key"))
        if token := user.get("tokenFile"):
            user["tokenFile"] = str(folder / token)
        command = user.get("exec", {}).get("command", "")
        if "/" in command:
            user["exec"] = {**user["exec"], "command": str(folder / command)}
    return cluster, user


def _documents() -> list[tuple[Path, dict[str, Any]]]:
    """Return folder and content of each of the kubeconfig's files that is there."""
    import yaml

    found = []
    for file in filter(None, name().split(os.pathsep)):
        try:
            content = yaml.safe_load(Path(file).read_text())
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
            raise unusable(f"'{file}' can't be read ({' '.join(str(exc).split())})") from exc
        if isinstance(content, dict):
            found.append((Path(file).absolute().parent, content))
    if not found:
        raise unusable(f"there is no kubeconfig at '{name()}'")
    return found


def _entry(
    documents: list[tuple[Path, dict[str, Any]]], kind: str, wanted: str
) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the file that has it, and the entry: the first file of several wins."""
    for folder, document in documents:
        for entry in document.get(f"{kind}s") or ():
            if entry.get("name") == wanted:
                return folder, dict(entry.get(kind) or {})
    raise unusable(f"'{name()}' has no {kind} '{wanted}'")


def _with_content(entry: Mapping[str, Any], folder: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    result = dict(entry)
    for key in keys:
        if file := result.pop(key, None):
            result.setdefault(f"{key}-data", _content(folder / file))
    return result


def _content(file: Path) -> str:
    try:
        return base64.b64encode(file.read_bytes()).decode()
    except OSError as exc:
        raise unusable(f"the kubeconfig names '{file}', which can't be read") from exc

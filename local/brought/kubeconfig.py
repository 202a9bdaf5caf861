"""The kubeconfig of a cluster that is brought: its files, its context, a question to its API."""

import base64
import contextlib
import json
import os
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..console import LocalError
from ..home import write_private

_SECONDS = 20.0
"""How long a cluster may take to answer: one of this machine may be busy with its own start."""


@dataclass(frozen=True)
class Kubeconfig:
    """Files as KUBECONFIG names them. Of what several have, the first one's counts."""

    paths: str
    """With ':' between them."""
    context: str = ""
    """One of its contexts; empty: the current one."""

    def __str__(self) -> str:
        return self.paths

    def current(self) -> "Context":
        """The context that is meant.

        Raises:
            LocalError: there is no file, none that can be read, or no such context.
        """
        named = [Path(path) for path in self.paths.split(os.pathsep) if path]
        documents = [(file.absolute().parent, _read(file)) for file in named if file.exists()]
        if not documents and self.context:
            raise LocalError(
                f"DLSTACK_CONTEXT is '{self.context}', and there is no kubeconfig '{self}'.",
                "Make that cluster, or set KUBECONFIG to its file. Without either variable a "
                "cluster is made here.",
            )
        if not documents:
            raise LocalError(
                f"KUBECONFIG is '{self}', and there is no such file.",
                "Correct it, or unset it to have a cluster made here.",
            )
        currents = (one.get("current-context") for _, one in documents)
        name = self.context or next(filter(None, currents), "")
        if not name:
            raise LocalError(
                f"KUBECONFIG is '{self}', which has no current context.",
                "Choose one by `kubectl config use-context`, or by DLSTACK_CONTEXT.",
            )
        context = self._entry(documents, "context", name)[1]
        cluster_name = context.get("cluster", "")
        folder, cluster = self._entry(documents, "cluster", cluster_name)
        user_folder, user = self._entry(documents, "user", context.get("user", ""))
        return Context(name, cluster_name, _absolute(cluster, folder), _absolute(user, user_folder))

    def value(self, folder: Path) -> str:
        """A value of KUBECONFIG by which every program takes the context that is meant.

        Args:
            folder: keeps a file that says nothing but which one; the others stay as they are.
        """
        if not self.context:
            return self.paths
        file = folder / f"{self.context.replace(os.sep, '_').replace(os.pathsep, '_')}.yaml"
        content = {"apiVersion": "v1", "kind": "Config", "current-context": self.context}
        write_private(file, json.dumps(content).encode())
        others = [path for path in self.paths.split(os.pathsep) if path != str(file)]
        return os.pathsep.join([str(file), *others])

    def _entry(
        self, documents: list[tuple[Path, dict[str, Any]]], kind: str, name: str
    ) -> tuple[Path, dict[str, Any]]:
        if not name:
            return Path(), {}
        for folder, document in documents:
            for entry in document.get(f"{kind}s") or ():
                if entry.get("name") == name:
                    return folder, dict(entry.get(kind) or {})
        names = [e.get("name") for _, one in documents for e in one.get(f"{kind}s") or ()]
        raise LocalError(
            f"'{self}' has no {kind} '{name}'; it has: {', '.join(map(str, names)) or 'none'}.",
            "Correct KUBECONFIG, or set DLSTACK_CONTEXT to one of its contexts.",
        )


@dataclass(frozen=True)
class Context:
    """A way to a cluster. Files in the entries have absolute paths."""

    name: str
    cluster_name: str
    """Of the cluster's entry: it stays when a context is renamed."""
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The URL of its API."""
        return str(self.cluster.get("server", ""))

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer to a GET.

        Raises:
            OSError: there is none, or it is a refusal.
        """
        with _credentials(self.cluster, self.user) as (tls, headers):
            request = urllib.request.Request(f"{self.server}{path}", headers=headers)
            # Not by a proxy: a cluster of this machine is not reached by one.
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
            )
            with opener.open(request, timeout=_SECONDS) as answer:
                try:
                    found: dict[str, Any] = json.load(answer)
                except ValueError as error:
                    raise OSError(f"what answers is not Kubernetes: {error}") from error
                return found


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LocalError(
            f"the kubeconfig {file} can't be read ({' '.join(str(error).split())}).",
            "Correct KUBECONFIG, or unset it to have a cluster made here.",
        ) from error
    return content if isinstance(content, dict) else {}


def _absolute(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    return {key: str(folder / value) if key in files else value for key, value in entry.items()}


@contextlib.contextmanager
def _credentials(
    cluster: Mapping[str, Any], user: Mapping[str, Any]
) -> Iterator[tuple[ssl.SSLContext, dict[str, str]]]:
    """TLS settings and headers by which a request is the user's."""
    with tempfile.TemporaryDirectory(prefix="dlstack-") as folder:

        def file(entry: Mapping[str, Any], key: str) -> str | None:
            if data := entry.get(f"{key}-data"):
                path = Path(folder) / key
                write_private(path, base64.b64decode(data))
                return str(path)
            return entry.get(key)

        tls = ssl.create_default_context(cafile=file(cluster, "certificate-authority"))
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        if certificate := file(user, "client-certificate"):
            tls.load_cert_chain(certificate, file(user, "client-key"))
        headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
        yield tls, headers

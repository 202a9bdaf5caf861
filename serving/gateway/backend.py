"""The model server that the gateway asks, over its REST port."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3

from ..authentication import Token

log = logging.getLogger("serving.gateway")

SERVER_TIMEOUT_MS = 30_000
"""Of the model server's REST port, unless a flag says otherwise."""

_CONNECT_SECONDS = 2.0
_LATER_SECONDS = 10.0
"""How much longer than the model server's own time-out to wait: its 504 says more than ours."""


def connections(most: int, server_timeout_ms: int = SERVER_TIMEOUT_MS) -> urllib3.PoolManager:
    """Return connections to a model server: `most` of them are kept for the next requests."""
    timeout = urllib3.Timeout(
        connect=_CONNECT_SECONDS, read=server_timeout_ms / 1000 + _LATER_SECONDS
    )
    return urllib3.PoolManager(maxsize=most, timeout=timeout, retries=False)


class BackendError(Exception):
    """The model server did not answer as hoped; `status` is for the gateway's own answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Backend:
    """The REST port of a model server, for one model. Its methods block.

    Raises:
        BackendError: from every method, when the server can't be reached or refuses.
    """

    rest_url: str
    model_name: str
    manifest_dir: Path | None
    http: urllib3.PoolManager
    token: Token | None = None
    _metadata: tuple[int, dict[str, Any]] = field(default=(-1, {}), init=False)
    """Of the version that was asked last; it is large, and stays as it is."""

    @property
    def headers(self) -> dict[str, str]:
        """What the server asks for in each request."""
        return self.token.headers if self.token else {}

    def state(self) -> dict[str, Any]:
        """Return `{"version": ..., "state": ..., "error": ...}` of the version that would answer.

        `error` is why it is not available, and may be empty.
        """
        versions = self._call("GET", self._path())["model_version_status"]
        # Highest first: what serves, else what is coming or went wrong.
        best = next((v for v in versions if v["state"] == "AVAILABLE"), versions[0])
        error = best.get("status", {}).get("error_message", "")
        return {"version": int(best["version"]), "state": best["state"], "error": error}

    def metadata(self, version: int) -> dict[str, Any]:
        """Return what `GET …/metadata` answers for a version."""
        known, metadata = self._metadata
        if known != version:
            metadata = self._call("GET", f"{self._path()}/versions/{version}/metadata")
            self._metadata = version, metadata
        return metadata

    def predict(self, version: int, body: Sequence[bytes]) -> Any:
        """Return `outputs` of the answer to JSON with `inputs`, which comes in parts."""
        return self._call("POST", f"{self._path()}/versions/{version}:predict", body)["outputs"]

    def manifest(self, version: int) -> dict[str, Any]:
        """Return a version's manifest; empty where there is none."""
        if self.manifest_dir is None:
            return {}
        try:
            manifest = json.loads((self.manifest_dir / str(version) / "manifest.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return manifest if isinstance(manifest, dict) else {}

    def _path(self) -> str:
        return f"{self.rest_url}/v1/models/{quote(self.model_name, safe='')}"

    def _call(self, method: str, url: str, body: Sequence[bytes] | None = None) -> Any:
        headers = self.headers
        if body is not None:
            headers["content-length"] = str(sum(map(len, body)))
        try:
            response = self.http.request(
                method, url, body=None if body is None else iter(body), headers=headers
            )
            answer = response.json()
        except urllib3.exceptions.ReadTimeoutError:
            raise BackendError(
                504, f"The model server at {self.rest_url} takes too long to answer."
            ) from None
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            log.warning("%s %s: %s", method, url, error)
            raise BackendError(
                503, f"The model server at {self.rest_url} does not answer."
            ) from None
        if response.status != 200:
            raise BackendError(response.status, str(answer.get("error", answer)))
        return answer

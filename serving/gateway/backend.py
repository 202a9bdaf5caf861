"""The model server that the gateway asks, over its REST port."""

from __future__ import annotations

import base64
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

SIGNATURE = "image_bytes"
_TIMEOUT = urllib3.Timeout(connect=2, read=30)


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
    token: Token | None = None
    http: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=32, timeout=_TIMEOUT, retries=False)
    )

    @property
    def headers(self) -> dict[str, str]:
        """What the server asks for in each request."""
        return self.token.headers if self.token else {}

    def state(self) -> dict[str, Any]:
        """Return `{"version": ..., "state": ...}` of the version that would answer."""
        versions = self._call("GET", self._path())["model_version_status"]
        # Highest first: what serves, else what is coming or went wrong.
        best = next((v for v in versions if v["state"] == "AVAILABLE"), versions[0])
        return {"version": int(best["version"]), "state": best["state"]}

    def predict(self, pngs: Sequence[bytes]) -> tuple[int, dict[str, Any]]:
        """Return the version that answered and its outputs by name."""
        instances = [{"b64": base64.b64encode(png).decode()} for png in pngs]
        body = json.dumps({"signature_name": SIGNATURE, "inputs": instances}).encode()
        for last_try in (False, True):
            version = self.state()["version"]
            try:
                # By number, so that the answer is known to be this version's.
                answer = self._call("POST", f"{self._path()}/versions/{version}:predict", body)
                break
            except BackendError as error:
                # A newer version may have taken over in between.
                if last_try or error.status != 404:
                    raise
        outputs = answer["outputs"]
        return version, outputs if isinstance(outputs, dict) else {"predictions": outputs}

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

    def _call(self, method: str, url: str, body: bytes | None = None) -> Any:
        try:
            response = self.http.request(method, url, body=body, headers=self.headers)
            answer = response.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            log.warning("%s %s: %s", method, url, error)
            raise BackendError(
                503, f"The model server at {self.rest_url} does not answer."
            ) from None
        if response.status != 200:
            raise BackendError(response.status, str(answer.get("error", answer)))
        return answer

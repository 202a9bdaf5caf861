"""Wheels of one list of requirements, kept in the bucket: the next run needs no index."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from store import objects
from store.client import Client
from store.errors import Changed, NoObject
from store.fetching import fetch_file
from store.parallel import in_parallel
from store.transfers import upload_file
from store.urls import S3Url

_LIST = "wheels.json"


class WheelStore:
    """A folder of the bucket. Several workers may fill it at the same time.

    A wheel lies below its checksum, and the list that names it is put last. So each list that is
    there is whole, whoever wrote it.
    """

    def __init__(self, client: Client, url: S3Url) -> None:
        self._client = client
        self._url = url

    def fetch(self, key: str, folder: Path) -> list[Path] | None:
        """Get the wheels of `key` into `folder`; None: there are none, or they are damaged."""
        url = self._url / key
        try:
            listed = [
                dict(one) for one in json.loads(objects.read(self._client, url / _LIST))["wheels"]
            ]
            folder.mkdir(parents=True, exist_ok=True)
            in_parallel(lambda one: self._fetch(url, one, folder), listed)
        except (NoObject, Changed, ValueError, LookupError, TypeError):
            # What came of them is no part of what is installed instead.
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return [folder / Path(one["name"]).name for one in listed]

    def _fetch(self, url: S3Url, wheel: dict[str, str], folder: Path) -> None:
        target = folder / Path(wheel["name"]).name
        fetch_file(self._client, url / wheel["sha256"] / wheel["name"], target, int(wheel["size"]))
        if _sha256(target) != wheel["sha256"]:
            raise ValueError(f"'{wheel['name']}' is damaged")

    def keep(self, key: str, wheels: Sequence[Path]) -> None:
        """Put the wheels of `key`."""
        url = self._url / key
        listed = [
            {"name": one.name, "sha256": _sha256(one), "size": one.stat().st_size} for one in wheels
        ]

        def put(index: int) -> None:
            one = listed[index]
            upload_file(self._client, wheels[index], url / str(one["sha256"]) / str(one["name"]))

        in_parallel(put, range(len(wheels)))
        objects.write(self._client, url / _LIST, json.dumps({"wheels": listed}, indent=2).encode())


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

"""The embedded cluster's volumes: a folder of this machine's disk for each claim, as long as it is.

A process of its own (`volume-provisioner`) that uses nothing but the standard library: it runs as
a script, from a copy in the cluster's folder. Why not Kubernetes' own recycler of `hostPath`
volumes: it shares one pod between all volumes, so of two that are freed side by side one is emptied
twice and the other keeps its data (pkg/volume/hostpath/host_path.go).
"""

import argparse
import http.client
import json
import shutil
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROVISIONER = "dlstack.dev/folder"
STORAGE_CLASS = "folder"
FINALIZER = "dlstack.dev/folder"
"""Keeps a volume that somebody deletes by hand until its folder is gone."""
SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""Annotation by which the scheduler says where the first pod of a claim is to run."""
NOTES = ".claims"
"""Beside the volumes: a file for each, with the claim that it is of, as NAMESPACE/NAME."""
VOLUMES = "/api/v1/persistentvolumes"
CLAIMS = "/api/v1/persistentvolumeclaims"
WATCH_SECONDS = 600
RETRY_SECONDS = 2.0
FAILURES = (OSError, http.client.HTTPException)
"""What a request raises that was refused or broke off."""

Document = dict[str, Any]
"""An object of the API."""


class Api:
    """The API server, as the user of a kubeconfig that `pki.Authority` wrote."""

    def __init__(self, kubeconfig: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        self._server = cluster["server"]
        self._tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._tls.load_cert_chain(user["client-certificate"], user["client-key"])
        # Never by way of a proxy of the environment: the server is this machine.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )

    def list(self, path: str) -> "list[Document]":
        items: list[Document] = json.loads(self._open("GET", path).read())["items"]
        return items

    def create(self, path: str, document: Document) -> bool:
        """Make an object; false when there is one of that name, which is left as it is."""
        try:
            self._open("POST", path, document).read()
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            return False
        return True

    def patch(self, path: str, change: Document) -> None:
        """Change these fields of an object (RFC 7386)."""
        self._open("PATCH", path, change).read()

    def delete(self, path: str) -> None:
        """Delete an object unless it is gone already."""
        try:
            self._open("DELETE", path).read()
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

    def changes(self, path: str) -> Iterator[None]:
        """One item for each object that is there, then one for each change, for a while."""
        query = f"{path}?watch=true&timeoutSeconds={WATCH_SECONDS}"
        for _ in self._open("GET", query, seconds=WATCH_SECONDS + 60):
            yield

    def _open(
        self, method: str, path: str, document: Document | None = None, seconds: float = 10
    ) -> Any:
        request = urllib.request.Request(
            self._server + path,
            method=method,
            data=None if document is None else json.dumps(document).encode(),
            headers={
                "Content-Type": "application/merge-patch+json"
                if method == "PATCH"
                else "application/json"
            },
        )
        return self._opener.open(request, timeout=seconds)


@dataclass(frozen=True)
class Provisioner:
    """Makes and removes volumes until they are as the claims want them."""

    api: Api
    folder: Path
    """Where the volumes' folders are."""

    def reconcile(self) -> bool:
        """Make what is wanted and remove what is over, as the API says at this moment.

        Returns:
            Whether all was done; what was not is said.

        Raises:
            OSError, http.client.HTTPException: the API server does not answer.
        """
        # In this order: a claim that a volume names and that is not listed afterwards is gone.
        volumes = self.api.list(VOLUMES)
        claims = self.api.list(CLAIMS)
        for volume in ours(volumes, self.folder):
            self._remember(volume)
        done = True
        # One that fails keeps no other waiting.
        for act, documents in (
            (self._remove, over(volumes, claims, self.folder)),
            (self._make, wanting(claims)),
            (self._grow, growing(claims, volumes)),
        ):
            for document in documents:
                try:
                    act(document)
                except FAILURES as error:
                    _say(f"{document['metadata']['name']}: {error}")
                    done = False
        return done

    def _remove(self, volume: Document) -> None:
        path, name = Path(volume["spec"]["local"]["path"]), volume["metadata"]["name"]
        # First: what is half removed is nobody's to go on with.
        self._note(name).unlink(missing_ok=True)
        if path.exists():
            shutil.rmtree(path)
            owner = volume["spec"]["claimRef"]
            _say(f"removed {name}: the claim {owner['namespace']}/{owner['name']} is gone")
        finalizers = volume["metadata"].get("finalizers", [])
        if FINALIZER in finalizers:
            others = [one for one in finalizers if one != FINALIZER]
            self.api.patch(f"{VOLUMES}/{name}", {"metadata": {"finalizers": others}})
        self.api.delete(f"{VOLUMES}/{name}")

    def _make(self, claim: Document) -> None:
        volume, owner = volume_for(claim, self.folder), claim["metadata"]
        path, name = Path(volume["spec"]["local"]["path"]), volume["metadata"]["name"]
        if not path.exists() and (former := self._former(volume)):
            self._note(former.name).rename(self._note(name))
            former.rename(path)
            _say(f"{name} is {former.name}, which {_claim_of(volume)} had before etcd was lost")
        path.mkdir(exist_ok=True)
        self._remember(volume)
        if self.api.create(VOLUMES, volume):
            _say(f"made {name} for {owner['namespace']}/{owner['name']}")

    def _grow(self, claim: Document) -> None:
        """Say that the volume is as large as its claim asks: its size is a word, not a quota."""
        owner, capacity = claim["metadata"], claim["spec"]["resources"]["requests"]
        size = {"storage": capacity["storage"]}
        self.api.patch(f"{VOLUMES}/{claim['spec']['volumeName']}", {"spec": {"capacity": size}})
        path = f"/api/v1/namespaces/{owner['namespace']}/persistentvolumeclaims/{owner['name']}"
        self.api.patch(f"{path}/status", {"status": {"capacity": size}})
        _say(f"{claim['spec']['volumeName']} has {size['storage']} now")

    def _former(self, volume: Document) -> Path | None:
        """The folder that the claim of this name had in a cluster whose memory is lost.

        No other folder stays without its volume: it goes before the volume does.
        """
        present = {one["metadata"]["name"] for one in self.api.list(VOLUMES)}
        left = [
            self.folder / note.name
            for note in (self.folder / NOTES).glob("pvc-*")
            if note.name not in present
            and note.read_text() == _claim_of(volume)
            and (self.folder / note.name).is_dir()
        ]
        return max(left, key=lambda path: path.stat().st_mtime, default=None)

    def _remember(self, volume: Document) -> None:
        """Note down, beside the volumes, whose this one is."""
        note = self._note(volume["metadata"]["name"])
        if not note.exists():
            note.parent.mkdir(exist_ok=True)
            note.write_text(_claim_of(volume))

    def _note(self, name: str) -> Path:
        return self.folder / NOTES / name


def _claim_of(volume: Document) -> str:
    claim = volume["spec"]["claimRef"]
    return f"{claim['namespace']}/{claim['name']}"


def over(volumes: Sequence[Document], claims: Sequence[Document], folder: Path) -> list[Document]:
    """The volumes in `folder` that had a claim which is gone."""
    present = {claim["metadata"]["uid"] for claim in claims}
    return [
        volume
        for volume in ours(volumes, folder)
        if volume["spec"]["claimRef"]["uid"] not in present
    ]


def ours(volumes: Sequence[Document], folder: Path) -> list[Document]:
    """The volumes in `folder` that have, or had, a claim."""
    return [
        volume
        for volume in volumes
        if Path(volume["spec"].get("local", {}).get("path", "/")).parent == folder
        and "uid" in volume["spec"].get("claimRef", {})
    ]


def wanting(claims: Sequence[Document]) -> list[Document]:
    """The claims that wait for a volume of ours, once it is known where their pod will run."""
    return [
        claim
        for claim in claims
        if claim["spec"].get("storageClassName") == STORAGE_CLASS
        and not claim["spec"].get("volumeName")
        and SELECTED_NODE in claim["metadata"].get("annotations", {})
        and "deletionTimestamp" not in claim["metadata"]
    ]


def growing(claims: Sequence[Document], volumes: Sequence[Document]) -> list[Document]:
    """The claims that ask for another size than their volume of ours has."""
    sizes = {
        one["metadata"]["name"]: one["spec"]["capacity"]["storage"]
        for one in volumes
        if one["spec"].get("storageClassName") == STORAGE_CLASS
    }
    return [
        claim
        for claim in claims
        if (size := sizes.get(claim["spec"].get("volumeName", ""))) is not None
        and claim["spec"]["resources"]["requests"]["storage"] != size
        and "deletionTimestamp" not in claim["metadata"]
    ]


def volume_for(claim: Document, folder: Path) -> Document:
    """The volume of a claim: a folder of this machine's disk. Its size is a word, not a quota."""
    about, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{about['uid']}"
    # All nodes are this machine: a pod that moves finds its data. Kubernetes wants to be told.
    any_node = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "finalizers": [FINALIZER],
            # With it Kubernetes leaves the deletion to this process.
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": about["namespace"],
                "name": about["name"],
                "uid": about["uid"],
            },
            # Unlike `hostPath` it is given to the group that a pod's fsGroup names.
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [any_node]}},
        },
    }


def _say(message: str) -> None:
    print(f"{time.strftime('%FT%TZ', time.gmtime())} {message}", flush=True)


def _watch(api: Api, path: str, changed: threading.Event) -> None:
    """Set `changed` whenever an object of `path` changes, for ever."""
    while True:
        try:
            for _ in api.changes(path):
                changed.set()
        except FAILURES as error:
            # The API server is away: it is asked until it is back.
            _say(f"watch {path}: {error}")
            time.sleep(RETRY_SECONDS)


def main(arguments: Sequence[str]) -> None:
    """Serve the claims until this process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="JSON file of the user")
    parser.add_argument("--folder", type=Path, required=True, help="where volumes are made")
    flags = parser.parse_args(arguments)
    api = Api(flags.kubeconfig)
    provisioner = Provisioner(api, flags.folder)
    changed = threading.Event()
    for path in (VOLUMES, CLAIMS):
        threading.Thread(target=_watch, args=(api, path, changed), daemon=True).start()
    while True:
        changed.wait()
        changed.clear()
        try:
            done = provisioner.reconcile()
        except FAILURES as error:
            _say(str(error))
            done = False
        if not done:
            time.sleep(RETRY_SECONDS)
            changed.set()


if __name__ == "__main__":
    main(sys.argv[1:])

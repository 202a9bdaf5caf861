"""The first node's images for other nodes, with a containerd that runs no pods."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from hashlib import sha256

import pytest

from local.kubernetes.containerd import offline
from local.kubernetes.shared_images import SharedImages
from local.machine.processes import Daemon
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("containerd", "ctr"))),
    reason="needs root and containerd",
)

NAME = "localhost/small:1"


def image() -> bytes:
    """An archive of an image with one file."""

    def packed(**files: bytes) -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(name.replace("__", "."))
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
        return content.getvalue()

    layer = packed(greeting=b"hello")
    root = {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]}
    config = {"architecture": "amd64", "os": "linux", "rootfs": root}
    manifest = [{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]
    return packed(
        config__json=json.dumps(config).encode(),
        layer__tar=layer,
        manifest__json=json.dumps(manifest).encode(),
    )


class Containerd:
    """One that runs in a folder."""

    def __init__(self, folder):
        self.root = folder / "containerd"
        self._socket = folder / "run" / "c.sock"
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        configuration = folder / "containerd.toml"
        configuration.write_text(offline(self.root, self._socket))
        self.daemon = Daemon("containerd", ["containerd", "--config", configuration], folder)

    def __enter__(self):
        self.daemon.start()
        eventually(lambda: self.ctr("version").returncode == 0)
        return self

    def __exit__(self, *_):
        self.daemon.stop()

    def ctr(self, *words, given=None):
        command = ["ctr", "--address", self._socket, "--namespace=k8s.io", *words]
        return subprocess.run(command, input=given, capture_output=True)

    def said(self, *words, given=None):
        done = self.ctr(*words, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().split()


def greeting(root):
    (found,) = root.glob("io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/greeting")
    return found


def test_another_node_has_the_images_by_links_and_none_of_the_containers(tmp_path):
    folders = [tmp_path / name for name in ("1", "2")]
    with Containerd(folders[0]) as first:
        first.said("images", "import", "-", given=image())
        first.said("containers", "create", NAME, "pod")
        shared = SharedImages(tmp_path / "shared", first.root, first.daemon, ())
        shared.make()
        assert first.said("containers", "list", "--quiet") == ["pod"]
    second = Containerd(folders[1])
    assert not shared.are_in(second.root)
    shared.give(second.root)
    assert shared.are_in(second.root)
    # That of the first may be made anew meanwhile.
    inode = greeting(first.root).stat().st_ino
    shutil.rmtree(first.root)
    with second:
        assert second.said("images", "list", "--quiet") == [NAME]
        assert second.said("containers", "list", "--quiet") == []
        assert greeting(second.root).read_text() == "hello"
        assert greeting(second.root).stat().st_ino == inode
        target = tmp_path / "mounted"
        target.mkdir()
        second.said("images", "mount", NAME, str(target))
        try:
            assert (target / "greeting").read_text() == "hello"
        finally:
            second.said("images", "unmount", str(target))

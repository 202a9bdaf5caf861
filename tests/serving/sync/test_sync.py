"""Copying a published version from a real object store, and everything that can go wrong."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serving.sync.__main__ import main
from tests.ports import held_ports
from tests.seaweedfs import SeaweedFS
from tests.serving_fixtures import ROOT
from tests.store_gate import Gate
from tests.waiting import eventually

FILES = {
    "saved_model.pb": b"graph" * 1000,
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": os.urandom(3_000_000),
    "empty": b"",
}
BUCKET = "serving-sync"
MODEL = f"s3://{BUCKET}/models/mnist"


def publish(
    client: Any,
    version: int,
    *,
    model: str = "mnist",
    contents: Mapping[str, bytes] = FILES,
    **manifest: Any,
) -> None:
    """Put a version, its manifest last; `files` may lie about the contents."""
    prefix = f"models/{model}/{version}"
    for path, content in contents.items():
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path}", Body=content)
    files = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in contents.items()
    ]
    body = json.dumps({"model_name": model, "version": version, "files": files} | manifest)
    client.put_object(Bucket=BUCKET, Key=f"{prefix}/manifest.json", Body=body)


@pytest.fixture(scope="module")
def store(object_store: SeaweedFS) -> SeaweedFS:
    """A store with versions 1 and 12 published and 13 under way."""
    with closing(object_store.client()) as client:
        client.create_bucket(Bucket=BUCKET)
        publish(client, 1)
        publish(client, 12)
        client.put_object(Bucket=BUCKET, Key="models/mnist/13/.claim", Body=b"")
    return object_store


def run(
    store: SeaweedFS,
    target: Path,
    version: object = 12,
    url: str = MODEL,
    flags: Sequence[str] = (),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "serving.sync",
            f"--source_url={url}",
            f"--model_version={version}",
            f"--target_dir={target}",
            *flags,
        ],
        cwd=ROOT,
        env=os.environ | store.environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line of a failed run."""
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


def test_a_version_arrives_whole_and_a_second_run_copies_nothing(
    store: SeaweedFS, tmp_path: Path
) -> None:
    target = tmp_path / "models" / "mnist"
    done = run(store, target)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in target.iterdir()] == ["12"]
    for path, content in FILES.items():
        assert (target / "12" / path).read_bytes() == content
    assert json.loads((target / "12" / "manifest.json").read_bytes())["version"] == 12
    before = (target / "12" / "saved_model.pb").stat()
    # Not even the store is needed then.
    with held_ports(1) as [silent]:
        done = run(store, target, AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{silent}")
    assert done.returncode == 0
    assert "was complete already" in done.stderr
    assert (target / "12" / "saved_model.pb").stat().st_mtime_ns == before.st_mtime_ns


def test_what_a_killed_run_left_is_replaced(store: SeaweedFS, tmp_path: Path) -> None:
    (tmp_path / ".12.partial").mkdir()
    (tmp_path / ".12.partial" / "saved_model.pb").write_bytes(b"half")
    (tmp_path / "12").mkdir()
    assert run(store, tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["12"]
    assert (tmp_path / "12" / "saved_model.pb").read_bytes() == FILES["saved_model.pb"]


class _StalledStore(BaseHTTPRequestHandler):
    """A store with version 1 whose one file never arrives whole."""

    def do_GET(self) -> None:  # noqa: N802
        manifest = json.dumps(
            {"files": [{"path": "graph", "size": 9, "sha256": "0" * 64}]}
        ).encode()
        content = manifest if "manifest.json" in self.path else b"part"
        self.send_response(200)
        self.send_header("Content-Length", str(len(manifest)))
        self.end_headers()
        self.wfile.write(content)
        if content != manifest:
            time.sleep(60)


def test_sigterm_ends_it_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    """Not only when the files that are under way have arrived."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _StalledStore)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
    }
    words = [f"--source_url={MODEL}", "--model_version=1", f"--target_dir={tmp_path}"]
    syncing = subprocess.Popen(
        [sys.executable, "-m", "serving.sync", *words], cwd=ROOT, env=os.environ | environment
    )
    try:
        eventually((tmp_path / ".1.partial" / "graph").exists)
        syncing.terminate()
        # Before the answer would go on.
        assert syncing.wait(40) == 143
    finally:
        syncing.kill()
        syncing.wait()
        server.shutdown()
        server.server_close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [13, 99])
def test_a_version_without_a_manifest_is_refused_and_the_others_are_named(
    store: SeaweedFS, tmp_path: Path, version: int
) -> None:
    line = one_line(run(store, tmp_path, version))
    assert f"{MODEL}/{version} is not a published version. Published versions: 1, 12." in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "environment", "text"),
    [
        ("s3://no-such-bucket/m", {}, "no such bucket"),
        ("/local/folder", {}, "Use s3://bucket/prefix."),
        (
            MODEL,
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            "refused the credentials (SignatureDoesNotMatch)",
        ),
        (MODEL, {"AWS_ACCESS_KEY_ID": "wrong"}, "refused the credentials (InvalidAccessKeyId)"),
    ],
)
def test_a_store_that_refuses_is_one_clear_line(
    store: SeaweedFS, tmp_path: Path, url: str, environment: dict[str, str], text: str
) -> None:
    line = one_line(run(store, tmp_path, url=url, **environment))
    assert text in line
    assert "wrong" not in line
    assert list(tmp_path.iterdir()) == []


def test_a_store_out_of_reach_is_one_clear_line(store: SeaweedFS, tmp_path: Path) -> None:
    with held_ports(1) as [silent]:
        endpoint = f"http://127.0.0.1:{silent}"
        flags = ["--store_seconds=0"]
        line = one_line(run(store, tmp_path, flags=flags, AWS_ENDPOINT_URL_S3=endpoint))
    assert f"the object store at '{endpoint}' can't be reached (Connection refused)." in line


def test_a_store_that_answers_some_seconds_after_the_start_is_waited_for(
    store: SeaweedFS, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "serving.sync", f"--source_url={MODEL}", "--model_version=1"]
    with (
        Gate(store) as gate,
        subprocess.Popen(
            [*command, f"--target_dir={tmp_path}"],
            cwd=ROOT,
            env=os.environ | store.environment() | {"AWS_ENDPOINT_URL_S3": gate.url},
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "can't be reached" in line
        assert re.search(r"Trying again for [3-6]\d s", line)
        gate.open()
        assert "Version 1 copied in" in process.communicate(timeout=60)[1]
        assert process.returncode == 0


@pytest.mark.slow
def test_a_slow_store_is_said_and_the_version_comes(store: SeaweedFS, tmp_path: Path) -> None:
    """Symptom: nothing was said until the last byte was there."""
    with Gate(store) as gate:
        gate.open()
        gate.bytes_per_second = 200_000
        done = run(store, tmp_path, AWS_ENDPOINT_URL_S3=gate.url)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert re.search(rf"Copying {MODEL}/12: .* of 3\.0 MB in [1-5]\d s, 0\.", said[0])
    assert "Version 12 copied in" in said[-1]


def lie(**changes: Any) -> list[dict[str, Any]]:
    content = FILES["saved_model.pb"]
    entry = {
        "path": "saved_model.pb",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return [entry | changes]


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (lie(sha256="0" * 64), "its manifest says 5000 and 0000"),
        (lie(size=4999), "has 5000 bytes"),
        (lie(path="gone"), "is in the manifest but not in the bucket"),
        (lie(path="../../../etc/cron.d/x"), "names a file outside its version"),
        (lie(path="/etc/passwd"), "names a file outside its version"),
        ("no list", "is not a manifest"),
    ],
    ids=["checksum", "size", "missing", "parent", "absolute", "garbage"],
)
def test_a_version_that_is_not_what_its_manifest_says_leaves_nothing(
    store: SeaweedFS, tmp_path: Path, files: Any, text: str
) -> None:
    with closing(store.client()) as client:
        publish(client, 500, files=files)
        try:
            line = one_line(run(store, tmp_path, 500))
        finally:
            client.delete_object(Bucket=BUCKET, Key="models/mnist/500/manifest.json")
    assert text in line
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mount(8)")
def test_a_full_disk_keeps_the_older_version_and_takes_the_new_one_once_there_is_room(
    store: SeaweedFS, small_disk: Path
) -> None:
    url = f"s3://{BUCKET}/models/grown"
    old = {"saved_model.pb": b"old" * 1000, "variables/variables.index": os.urandom(100_000)}
    with closing(store.client()) as client:
        publish(client, 1, model="grown", contents=old)
        publish(client, 2, model="grown")
    target = small_disk / "grown"
    done = run(store, target, 1, url)
    assert done.returncode == 0, done.stderr

    def old_is_intact() -> bool:
        return all((target / "1" / path).read_bytes() == content for path, content in old.items())

    line = one_line(run(store, target, 2, url))
    assert f"No room at '{target}" in line
    assert "are free. Give dlstack:servingFlavour a bigger disk (dlstack:flavours)" in line
    assert [path.name for path in target.iterdir()] == ["1"]
    assert old_is_intact()
    # What was half copied has freed its room again.
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize > 2**20 - 200_000

    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    done = run(store, target, 2, url)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in target.iterdir()) == ["1", "2"]
    for path, content in FILES.items():
        assert (target / "2" / path).read_bytes() == content
    assert old_is_intact()


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    store: SeaweedFS,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """/dev/full stands for the disk: writing to it fails as on a full one."""
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    original = Path.open

    def on_full_disk(path: Path, mode: str = "r", *rest: Any) -> Any:
        return original(Path("/dev/full") if mode == "wb" else path, mode, *rest)

    monkeypatch.setattr(Path, "open", on_full_disk)
    # How this process ends is not the command's to say.
    monkeypatch.setattr("signal.signal", lambda *_: None)
    arguments = [f"--source_url={MODEL}", "--model_version=12", f"--target_dir={tmp_path}"]
    assert main(arguments) == 1
    assert caplog.messages == [f"Can't write '{tmp_path}': No space left on device. Free some."]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    store: SeaweedFS, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    line = one_line(run(store, tmp_path / "file" / "models"))
    assert "Can't write" in line
    assert "Check --target_dir." in line


@pytest.mark.parametrize("version", ["0", "-1", "latest", "1.5"])
def test_a_version_that_is_no_number_is_a_usage_error(
    store: SeaweedFS, tmp_path: Path, version: str
) -> None:
    assert run(store, tmp_path, version).returncode == 2

"""`python -m infra backup` and `restore`: between buckets of a SeaweedFS, a file, and a URL.

On a real cluster: tests/cluster/with_own_stacks/test_life_of_a_stack.py.
"""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from store import bucket_marks, folders, prune_mark, pruning, restoring
from store.access import ENDPOINT
from store.client import Client
from store.objects import delete, delete_many, list_objects, read, write
from store.urls import S3Url
from tests.infra.commands.test_download import (
    CODE,
    client,
    data_bucket,
    published,
)
from tests.infra.commands.test_status import PLACE, Bucket, Run, program
from tests.seaweedfs import SeaweedFS
from tests.waiting import eventually

__all__ = ["client", "data_bucket", "published"]


@pytest.fixture
def another(
    published: None, stack: dict[str, Any], bucket: Bucket, client: Client
) -> Iterator[Callable[[], dict[str, bytes]]]:
    """Call it, and the stack is a new one, whose buckets are empty.

    Yields:
        What returns all that its buckets have.
    """
    name = f"new-{uuid4().hex[:12]}"
    for one in (f"{name}-output", f"{name}-data"):
        client.s3.create_bucket(Bucket=one)
    told = stack[f"{PLACE}/configmaps/stack"]["data"]

    def move() -> dict[str, bytes]:
        told["outputBucket"], told["dataBucket"] = f"{name}-output", f"{name}-data"
        return {
            f"{place}/{entry.path}": read(client, S3Url(f"{name}-{place}", entry.path))
            for place in ("output", "data")
            for entry in list_objects(client, S3Url(f"{name}-{place}"))
        }

    yield move
    for one in (f"{name}-output", f"{name}-data"):
        delete_many(client, one, [entry.path for entry in list_objects(client, S3Url(one))])
        client.s3.delete_bucket(Bucket=one)


@pytest.fixture
def elsewhere(
    client: Client, object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Url]:
    """A URL in the store of this shell."""
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"backups-{uuid4().hex[:12]}"
    client.s3.create_bucket(Bucket=bucket)
    yield S3Url(bucket, "of/mnist")
    delete_many(client, bucket, [entry.path for entry in list_objects(client, S3Url(bucket))])
    client.s3.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize("to", ["file", "url"])
def test_what_is_restored_is_what_was_backed_up(
    run: Run,
    another: Callable[[], dict[str, bytes]],
    elsewhere: S3Url,
    client: Client,
    bucket: Bucket,
    data_bucket: Bucket,
    to: str,
    stack: dict[str, Any],
) -> None:
    where = "kept.tar" if to == "file" else str(elsewhere)
    code, output, errors = run("backup", where)
    assert code == 0, errors
    assert output.split()[:2] == ["mnist", "versions"] and "4, 3, 2, 1" in output
    assert f"python -m infra restore {where}" in errors
    assert "mnist 4: its code" in output
    assert "1 data set, not asked for: --data" in output
    assert not another()
    code, output, errors = run("restore", where)
    assert code == 0 and "of the stack 'dlstack-dev'" in output
    # Symptom: "pulumi up" alone, which serves the version of the configured run, or trains it.
    assert "pulumi config set dlstack:modelVersion 4 && pulumi up" in errors
    held = another()
    for entry in list_objects(client, S3Url(bucket.name, "models")):
        key = f"models/{entry.path}"
        assert held[f"output/{key}"] == read(client, S3Url(bucket.name, key))
    # The code of version 3 and its run, and not the data set.
    digest = json.loads(held["output/models/mnist/3/manifest.json"])["provenance"]["code_sha256"]
    assert f"data/folders/{digest}" in held
    assert sum(key.startswith("data/blobs/") for key in held) == len(CODE)
    name = stack[f"{PLACE}/configmaps/stack"]["data"]["dataBucket"]
    assert folders.is_complete(client, folders.index(name, digest))
    # Once more: nothing is to do.
    code, output, _ = run("restore", where, "--json")
    told = json.loads(output)
    assert (code, told["put"]) == (0, 0) and told["there"] == len(held)
    assert told["versions"] == {"mnist": [4, 3, 2, 1]}


def test_data_sets_come_along_if_asked_for(
    run: Run, another: Callable[[], dict[str, bytes]]
) -> None:
    code, output, _ = run("backup", "kept.tar", "--data", "--json")
    told = json.loads(output)
    assert code == 0 and told["versions"] == {"mnist": [4, 3, 2, 1]}
    assert told["dataLeftOut"] == 0
    another()
    assert run("restore", "kept.tar")[0] == 0
    assert another()[f"data/blobs/{hashlib.sha256(b'1234').hexdigest()}"] == b"1234"


@pytest.mark.usefixtures("published")
class TestBackup:
    def test_a_file_that_is_there_stays(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "kept.tar").write_text("mine")
        code, output, errors = run("backup", "kept.tar")
        assert (code, output) == (1, "") and "'kept.tar' is there already" in errors
        assert (tmp_path / "kept.tar").read_text() == "mine"

    def test_nothing_half_made_gets_the_name(
        self, run: Run, tmp_path: Path, bucket: Bucket
    ) -> None:
        """A file of the same size and second as the manifest's, with another content."""
        bucket.put("models/mnist/3/variables/a b", "y" * 1500)
        before = set(tmp_path.iterdir())
        code, output, errors = run("backup", "kept.tar")
        assert "Traceback" not in errors
        if code == 0:
            # The machine was busy, and it is of another second: a damaged version.
            assert "left out" in output and "mnist 3: " in output
            return
        assert "was written while it was read" in errors or "its manifest says" in errors
        assert set(tmp_path.iterdir()) == before

    def test_damaged_versions_are_left_out_and_told(
        self, run: Run, client: Client, bucket: Bucket
    ) -> None:
        delete(client, S3Url(bucket.name, "models/mnist/3/saved_model.pb"))
        code, output, _ = run("backup", "kept.tar")
        assert code == 0 and "4, 2, 1" in output
        assert "left out" in output and "mnist 3: " in output

    def test_what_was_sent_before_is_not_sent_again(
        self, run: Run, elsewhere: S3Url, client: Client
    ) -> None:
        """As after a command that was cut short: the list at the end is not there yet."""
        assert run("backup", str(elsewhere))[0] == 0
        delete(client, elsewhere / "backup.json")
        code, _, errors = run("restore", str(elsewhere))
        assert code == 1 and "is not a backup, or one that was never finished" in errors
        # Somebody has written to one of the objects.
        write(client, elsewhere / "output/models/mnist/3/variables/a b", b"z" * 1500)
        code, output, _ = run("backup", str(elsewhere), "--json")
        told = json.loads(output)
        assert code == 0 and 0 < told["sent"] < told["objects"]
        assert read(client, elsewhere / "output/models/mnist/3/variables/a b") == b"x" * 1500
        assert run("restore", str(elsewhere))[0] == 0

    def test_a_bucket_of_the_stack_itself_is_refused(
        self,
        run: Run,
        elsewhere: S3Url,
        bucket: Bucket,
        client: Client,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        code, _, errors = run("backup", f"s3://{bucket.name}/backup")
        assert code == 1 and "is in a bucket of the stack itself" in errors
        # Whatever the address: of AWS the stack's configuration has none.
        bucket_marks.put(client, bucket.name, stack_id="1", stack="dlstack-dev")
        address = os.environ[ENDPOINT].replace("127.0.0.1", "localhost")
        monkeypatch.setenv(ENDPOINT, address)
        code, _, errors = run("backup", f"s3://{bucket.name}/backup")
        assert code == 1 and "is in a bucket of the stack itself" in errors

    def test_no_version_no_backup(self, run: Run) -> None:
        code, _, errors = run("backup", "kept.tar", "--model", "other")
        assert code == 1 and "The model 'other' has no version that can be backed up" in errors

    def test_a_folder_that_can_not_be_written_is_told(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        code, _, errors = run("backup", "file/kept.tar")
        assert code == 1 and "Can't write to the folder 'file'" in errors


class TestRestore:
    @pytest.fixture
    def kept(self, run: Run, published: None, tmp_path: Path) -> Path:
        assert run("backup", "kept.tar")[0] == 0
        return tmp_path / "kept.tar"

    def test_a_damaged_file_is_refused_before_anything_is_put(
        self, run: Run, kept: Path, another: Callable[[], dict[str, bytes]]
    ) -> None:
        content = kept.read_bytes()
        assert content.count(b"x" * 1500) == 2
        kept.write_bytes(content.replace(b"x" * 1500, b"x" * 1499 + b"y", 1))
        another()
        code, _, errors = run("restore", "kept.tar")
        assert code == 1 and "is damaged: 'output/models/mnist/" in errors
        assert "Use another copy" in errors and not another()

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
    def test_a_file_that_is_cut_off_is_refused(
        self, run: Run, kept: Path, another: Callable[[], dict[str, bytes]], share: float
    ) -> None:
        content = kept.read_bytes()
        kept.write_bytes(content[: int(share * len(content))])
        another()
        code, _, errors = run("restore", "kept.tar")
        assert code == 1 and "is not a backup, or one that was never finished" in errors
        assert "Traceback" not in errors and not another()

    @pytest.mark.parametrize("kind", ["link", "endless list"])
    def test_what_somebody_has_made_up_is_refused(
        self, run: Run, kept: Path, tmp_path: Path, kind: str
    ) -> None:
        with tarfile.open(kept) as tar:
            list_of = json.loads(tar.extractfile("backup.json").read())  # type: ignore[union-attr]
        made, link = b"[" * 100_000, tarfile.TarInfo("output/link")
        link.type, link.linkname = tarfile.SYMTYPE, "nowhere"
        if kind == "link":
            made = json.dumps({**list_of, "objects": [[link.name, 1, "0" * 64]]}).encode()
        content = tarfile.TarInfo("backup.json")
        content.size = len(made)
        with tarfile.open(tmp_path / "made.tar", "w") as tar:
            tar.addfile(link)
            tar.addfile(content, BytesIO(made))
        code, _, errors = run("restore", "made.tar")
        assert code == 1 and "Traceback" not in errors
        assert "is not a backup" in errors or "it lacks 'output/link'" in errors

    @pytest.mark.parametrize("content", [b"", b"text", None])
    def test_what_is_no_backup_is_told(
        self, run: Run, kept: Path, content: bytes | None, tmp_path: Path
    ) -> None:
        if content is not None:
            (tmp_path / "other").write_bytes(content)
        code, _, errors = run("restore", "other")
        assert code == 1 and "Traceback" not in errors
        assert ("is not a backup" if content is not None else "Can't read 'other'") in errors

    def test_a_backup_of_a_later_dlstack_is_told(
        self, run: Run, kept: Path, tmp_path: Path
    ) -> None:
        text = json.dumps({"format": 2}).encode()
        (tmp_path / "backup.json").write_bytes(text)
        with tarfile.open(tmp_path / "later.tar", "w") as tar:
            tar.add(tmp_path / "backup.json", "backup.json")
        code, _, errors = run("restore", "later.tar")
        assert code == 1 and "is a backup of format 2" in errors

    def test_other_versions_of_the_same_numbers_stay(
        self,
        run: Run,
        kept: Path,
        another: Callable[[], dict[str, bytes]],
        client: Client,
        stack: dict[str, Any],
    ) -> None:
        another()
        output = stack[f"{PLACE}/configmaps/stack"]["data"]["outputBucket"]
        other = {"models/mnist/3/manifest.json": b"{}", "models/mnist/2/.claim": b"another's"}
        for key, content in other.items():
            write(client, S3Url(output, key), content)
        code, _, errors = run("restore", "kept.tar")
        assert code == 1
        assert "has other versions under the same numbers: mnist 3" in errors
        assert "No version was restored. Restore into a new stack" in errors
        assert "'pulumi config set dlstack:modelVersion 4', so that it trains none" in errors
        held = another()
        assert {f"output/{key}": content for key, content in other.items()} == held

    def test_a_restore_that_was_cut_short_is_taken_up(
        self,
        run: Run,
        kept: Path,
        another: Callable[[], dict[str, bytes]],
        client: Client,
        stack: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        another()
        send, left = restoring.send, [6]

        def killed(*arguments: Any, **named: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return send(*arguments, **named)

        monkeypatch.setattr(restoring, "send", killed)
        assert run("restore", "kept.tar")[0] == 130
        half = another()
        # No half version is one.
        assert half and not any(key.endswith("manifest.json") for key in half)
        monkeypatch.setattr(restoring, "send", send)
        code, output, _ = run("restore", "kept.tar", "--json")
        told = json.loads(output)
        assert code == 0 and told["there"] > 0 and told["put"] > 0
        assert sum(key.endswith("manifest.json") for key in another()) == 4

    def test_what_is_pruned_meanwhile_takes_nothing_of_it_away(
        self,
        kept: Path,
        another: Callable[[], dict[str, bytes]],
        client: Client,
        stack: dict[str, Any],
    ) -> None:
        """Symptom: a content was there, and gone when the restore was over."""
        another()
        told = stack[f"{PLACE}/configmaps/stack"]["data"]
        buckets = {"output/": told["outputBucket"], "data/": told["dataBucket"]}
        waits: list[str] = []
        with restoring.in_file(kept) as place, ThreadPoolExecutor(1) as threads:
            backup = restoring.listed(place, "kept.tar")
            for one in backup.objects:
                if one.name.startswith("data/blobs/"):
                    with place.opened(one) as content:
                        write(client, restoring.place_of(buckets, one), content.read(one.size))
            with prune_mark.held(client, told["dataBucket"]) as turn:
                found = pruning.look(
                    client,
                    output_bucket=told["outputBucket"],
                    data_bucket=told["dataBucket"],
                    keep=1,
                    needed=pruning.Needed(),
                    now=datetime.now(UTC),
                )
                assert found.contents
                done = threads.submit(
                    restoring.restore, client, buckets, place, backup.objects, waits.append
                )
                eventually(lambda: waits or done.done())
                pruning.delete(client, found, turn)
            done.result()
        indexes = [one.name for one in backup.objects if one.name.startswith("data/folders/")]
        for name in indexes:
            url = S3Url(told["dataBucket"], name.removeprefix("data/"))
            assert folders.is_complete(client, url)
        assert indexes

    def test_a_bucket_of_another_stack_is_left_alone(
        self,
        run: Run,
        kept: Path,
        another: Callable[[], dict[str, bytes]],
        client: Client,
        stack: dict[str, Any],
    ) -> None:
        another()
        told = stack[f"{PLACE}/configmaps/stack"]["data"]
        told["storeInStack"] = "false"
        bucket_marks.put(client, told["outputBucket"], stack_id="other", stack="dlstack-other")
        before = another()
        code, _, errors = run("restore", "kept.tar")
        assert code == 1 and "belongs to the stack 'dlstack-other'" in errors
        assert another() == before

    def test_what_to_serve_is_the_newest_that_does_not_serve(
        self, run: Run, kept: Path, stack: dict[str, Any]
    ) -> None:
        told = stack[f"{PLACE}/configmaps/stack"]["data"]
        stack[f"{PLACE}/configmaps/served"] = {"data": {"model": "mnist", "version": "4"}}
        assert (
            "Serve version 3 of what is restored: pulumi config set" in run("restore", kept.name)[2]
        )
        told["pinnedVersion"] = "2"
        assert "Serve version 2, which is pinned: pulumi up" in run("restore", kept.name)[2]
        told["pinnedVersion"], told["modelName"] = "", "digits"
        errors = run("restore", kept.name)[2]
        assert (
            "pulumi config set dlstack:modelName mnist && "
            "pulumi config set dlstack:modelVersion 3 && pulumi up" in errors
        )

    def test_the_advice_takes_back_what_the_pin_would_contradict(
        self, run: Run, kept: Path, stack: dict[str, Any], tmp_path: Path
    ) -> None:
        """Symptom: "dlstack:modelVersion … Use one of the two", by the `up` that was advised."""
        config = {"dlstack:model": {"value": "s3://a/b"}, "dlstack:deploy": {"value": "false"}}
        program(
            tmp_path / "bin", f"[ $2 = --show-name ] && echo dev || echo '{json.dumps(config)}'"
        )
        pin = (
            "pulumi config rm dlstack:model && pulumi config rm dlstack:deploy && "
            "pulumi config set dlstack:modelVersion 4"
        )
        assert f": {pin} && pulumi up" in run("restore", kept.name)[2]
        del stack[f"{PLACE}/configmaps/stack"]
        assert f"'{pin}'. Then 'pulumi up'" in run("restore", kept.name)[2]

    def test_before_the_first_up_the_pin_is_named(
        self, run: Run, kept: Path, stack: dict[str, Any]
    ) -> None:
        """Symptom: "Run it", and it trained a version 1, the number of one in the backup."""
        del stack[f"{PLACE}/configmaps/stack"]
        code, _, errors = run("restore", kept.name)
        assert code == 1 and "'dlstack-dev' is not deployed" in errors
        assert "'pulumi config set dlstack:modelVersion 4'. Then 'pulumi up'" in errors
        assert "Run it" not in errors

    def test_data_that_a_backup_left_out_is_told_by_a_download(
        self, run: Run, kept: Path, another: Callable[[], dict[str, bytes]]
    ) -> None:
        another()
        assert run("restore", kept.name)[0] == 0
        code, output, _ = run("download", "3", "v3", "--data")
        assert code == 0
        assert "or the version comes from a backup that was made without --data" in output

    def test_no_bucket_yet(self, run: Run, kept: Path, stack: dict[str, Any]) -> None:
        stack[f"{PLACE}/configmaps/stack"]["data"]["outputBucket"] = "none-of-that-name"
        code, _, errors = run("restore", "kept.tar")
        assert code == 1 and "has no bucket 'none-of-that-name' yet. Run 'pulumi up'" in errors

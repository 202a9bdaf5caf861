"""The dynamic provider of uploaded folders, against a real S3-compatible store.

What lies in the store for a folder: tests/store/test_folders.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.output import Unknown

from infra.resources import connection
from infra.resources.folder import _FolderProvider
from infra.run import checksums
from store import bucket_marks, folders
from store.client import Client
from store.errors import StoreError
from store.urls import S3Url
from tests.infra.resources.conftest import Props, keys, no_secrets
from tests.seaweedfs import SeaweedFS

provider = _FolderProvider()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for file in ("train.py", "__init__.py", "sub/data.bin"):
        (tmp_path / file).write_text(f"content of {file}")
    return tmp_path


@pytest.fixture
def props(folder: Path, bucket: str, store: Props) -> Callable[[], Props]:
    def now() -> Props:
        sums = checksums.code(folder, "dlstack:codeDir")
        return {
            "path": str(folder),
            "digest": folders.digest(sums),
            "count": len(sums),
            "bucket": bucket,
            "store": store,
            "source": True,
        }

    return now


@pytest.fixture
def held(store: Props, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a reader gets of a folder: path -> content."""

    def get(outs: Props | None) -> dict[str, bytes]:
        assert outs is not None
        target = tmp_path_factory.mktemp("fetched")
        client: Client = connection.connect(store)
        found = folders.fetch(client, S3Url.parse(outs["url"]), target)
        return {one.path: (target / one.path).read_bytes() for one in found}

    return get


def test_a_folder_arrives_as_it_is(
    props: Callable[[], Props], bucket: str, held: Any, object_store: SeaweedFS
) -> None:
    created = provider.create(props())
    assert created.outs == props() | {"url": f"s3://{bucket}/folders/{props()['digest']}"}
    assert no_secrets(created.outs, object_store)
    assert held(created.outs) == {
        name: f"content of {name}".encode() for name in ("__init__.py", "sub/data.bin", "train.py")
    }


def test_another_content_is_another_folder_and_the_one_before_stays(
    props: Callable[[], Props], folder: Path, bucket: str, client: Any, held: Any
) -> None:
    created = provider.create(props())
    assert created.outs is not None
    before = _modified(client, bucket)
    (folder / "train.py").write_text("changed")
    (folder / "new.py").write_text("new")
    (folder / "sub" / "data.bin").unlink()
    assert provider.diff(created.id, created.outs, props()).changes is True
    updated = provider.update(created.id, created.outs, props())
    after = _modified(client, bucket)
    assert {key: after[key] for key in before} == before
    # One index, and two contents.
    assert len(after) == len(before) + 3
    assert held(updated.outs) == {
        "__init__.py": b"content of __init__.py",
        "new.py": b"new",
        "train.py": b"changed",
    }
    assert held(created.outs)["train.py"] == b"content of train.py"


def test_the_state_does_not_grow_with_the_files(props: Callable[[], Props]) -> None:
    created = provider.create(props())
    assert created.outs is not None
    assert not any(isinstance(value, list) for value in created.outs.values())
    assert "train.py" not in str(created.outs)


def test_a_folder_that_is_in_the_bucket_is_not_needed_on_this_machine(
    props: Callable[[], Props], folder: Path, store: Props, held: Any
) -> None:
    created = provider.create(props())
    gone = props() | {"store": store | {"endpoint": store["endpoint"] + "/"}}
    (folder / "train.py").unlink()
    assert provider.diff(created.id, created.outs or {}, gone).changes is True
    assert len(held(provider.update(created.id, created.outs or {}, gone).outs)) == 3


def test_another_checkout_changes_nothing(props: Callable[[], Props]) -> None:
    assert provider.diff("id", props(), props() | {"path": "/elsewhere"}).changes is False


def test_another_store_gets_all_of_it(
    props: Callable[[], Props], store: Props, bucket: str, client: Any, held: Any
) -> None:
    created = provider.create(props())
    assert created.outs is not None
    for key in keys(client, bucket)[:2]:
        client.delete_object(Bucket=bucket, Key=key)
    moved = props() | {"store": store | {"in_stack": False}}
    diff = provider.diff(created.id, created.outs, moved)
    assert (diff.changes, diff.replaces) == (True, [])
    assert len(held(provider.update(created.id, created.outs, moved).outs)) == 3


def test_what_a_preview_does_not_know_changes_nothing(props: Callable[[], Props]) -> None:
    unknown = props() | {"store": Unknown(), "bucket": Unknown()}
    diff = provider.diff("id", props(), unknown)
    assert (diff.changes, diff.replaces) == (False, [])


def test_a_store_that_is_away_takes_no_folder_from_the_state(
    props: Callable[[], Props], store: Props
) -> None:
    away = props() | {"store": store | {"endpoint": "http://127.0.0.1:9"}}
    assert provider.read("id", away).id == "id"


def test_what_others_put_beside_it_is_no_obstacle_and_stays(
    props: Callable[[], Props], bucket: str, client: Any, held: Any
) -> None:
    """Nobody reads it: a folder is what its index says."""
    for key in ("blobs/notes.txt", "folders/extra", "code/extra.py"):
        client.put_object(Bucket=bucket, Key=key, Body=b"foreign")
    created = provider.create(props())
    assert len(held(created.outs)) == 3
    provider.delete(created.id, created.outs or {})
    assert {"blobs/notes.txt", "folders/extra", "code/extra.py"} <= set(keys(client, bucket))


def test_refresh_sees_what_was_changed_and_deleted_behind_its_back(
    props: Callable[[], Props], bucket: str, client: Any, held: Any
) -> None:
    created = provider.create(props())
    assert created.outs is not None
    assert provider.read(created.id, created.outs).outs == created.outs
    blobs = [key for key in keys(client, bucket) if key.startswith("blobs/")]
    client.delete_object(Bucket=bucket, Key=blobs[0])
    client.put_object(Bucket=bucket, Key=blobs[1], Body=b"other")
    read = provider.read(created.id, created.outs)
    assert read.outs is not None
    assert provider.diff(created.id, read.outs, props()).changes is True
    updated = provider.update(created.id, read.outs, props())
    assert held(updated.outs)["train.py"] == b"content of train.py"


def test_what_versions_may_need_stays_when_the_folder_goes(
    props: Callable[[], Props], bucket: str, client: Any
) -> None:
    """As when `dataDir` becomes a URL."""
    created = provider.create(props())
    before = keys(client, bucket)
    provider.delete(created.id, created.outs or {})
    assert keys(client, bucket) == before


def test_where_a_version_is_pinned_from_the_beginning_nothing_is_sent(
    props: Callable[[], Props], bucket: str, client: Any
) -> None:
    none = props() | {"digest": "", "count": 0}
    assert not provider.check({}, none).failures
    created = provider.create(none)
    assert keys(client, bucket) == []
    assert provider.read(created.id, created.outs or {}).id == created.id
    provider.update(created.id, created.outs or {}, props())
    assert len(keys(client, bucket)) == 4


def test_a_folder_is_gone_with_its_bucket(
    props: Callable[[], Props], bucket: str, client: Any
) -> None:
    client.delete_object(Bucket=bucket, Key=bucket_marks.KEY)
    client.delete_bucket(Bucket=bucket)
    provider.delete("id", props())
    assert provider.read("id", props()).id == ""


def test_refresh_keeps_what_it_can_not_look_at(
    props: Callable[[], Props], object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: after an edit of the Secret, `up --refresh` failed, and told to run itself."""
    created = provider.create(props())
    assert created.outs is not None
    edited = object_store.access(secret_key="edited").variables
    monkeypatch.setattr(connection, "read_variables", lambda _: edited)
    read = provider.read(created.id, created.outs)
    assert (read.id, read.outs) == (created.id, created.outs)


def test_code_is_sent_as_it_was_hashed(props: Callable[[], Props], folder: Path, held: Any) -> None:
    """With LF, and the name in one form of Unicode, whatever this machine has."""
    (folder / "train.py").write_bytes(b"one\r\ntwo\r\n")
    (folder / "sub" / "cafe\u0301.py").write_bytes(b"\r\n\0")
    found = held(provider.create(props()).outs)
    assert found["train.py"] == b"one\ntwo\n"
    assert found["sub/caf\u00e9.py"] == b"\r\n\0"


def test_data_is_sent_as_it_is(props: Callable[[], Props], folder: Path, held: Any) -> None:
    (folder / "cafe\u0301.csv").write_bytes(b"1,2\r\n")
    sums = checksums.data(folder, "dlstack:dataDir")
    data = {"digest": folders.digest(sums), "source": False}
    assert held(provider.create(props() | data).outs)["cafe\u0301.csv"] == b"1,2\r\n"


@pytest.mark.parametrize("edit", ["edited", None], ids=["edited", "deleted"])
def test_a_folder_that_changed_since_it_was_hashed_fails_the_upload(
    props: Callable[[], Props], folder: Path, bucket: str, client: Any, edit: str | None
) -> None:
    """Symptom: an edit during a long `up` was sent under the sum of the file before."""
    inputs = props()
    (folder / "train.py").unlink()
    if edit:
        (folder / "train.py").write_text(edit)
    with pytest.raises(StoreError, match="was changed after its checksums were taken"):
        provider.create(inputs)
    assert keys(client, bucket) == []


class TestOfAnEarlierDlstack:
    """Files lay there under their paths, and the state had a list of them."""

    @pytest.fixture
    def olds(self, props: Callable[[], Props], folder: Path, bucket: str, client: Any) -> Props:
        sums = checksums.code(folder, "dlstack:codeDir")
        for path, sha256 in sums.items():
            body = (folder / path).read_bytes()
            client.put_object(
                Bucket=bucket, Key=f"code/{path}", Body=body, Metadata={"dlstack-sha256": sha256}
            )
        lines = [f"{sha256}  {path}" for path, sha256 in sums.items()]
        now = props()
        kept = {name: now[name] for name in ("path", "bucket", "store", "source")}
        return kept | {"files": lines, "prefix": "code/", "url": f"s3://{bucket}/code"}

    def test_what_is_there_moves_within_the_store(
        self,
        props: Callable[[], Props],
        olds: Props,
        bucket: str,
        client: Any,
        held: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        diff = provider.diff("id", olds, props())
        assert (diff.changes, diff.replaces) == (True, [])
        sent: list[Any] = []
        monkeypatch.setattr(
            folders.marks, "upload", lambda _client, _bucket, files, *_: sent.extend(files)
        )
        updated = provider.update("id", olds, props())
        assert sent == []
        assert held(updated.outs)["train.py"] == b"content of train.py"
        assert {key.split("/")[0] for key in keys(client, bucket)} == {"blobs", "folders"}

    def test_what_somebody_changed_there_is_sent(
        self, props: Callable[[], Props], olds: Props, bucket: str, client: Any, held: Any
    ) -> None:
        client.put_object(Bucket=bucket, Key="code/train.py", Body=b"other")
        client.delete_object(Bucket=bucket, Key="code/__init__.py")
        found = held(provider.update("id", olds, props()).outs)
        assert found["train.py"] == b"content of train.py"
        assert found["__init__.py"] == b"content of __init__.py"

    def test_it_deletes_its_own_files_only(self, olds: Props, bucket: str, client: Any) -> None:
        client.put_object(Bucket=bucket, Key="code/extra.py", Body=b"foreign")
        provider.delete("id", olds)
        assert keys(client, bucket) == ["code/extra.py"]
        provider.delete("id", olds)


def _modified(client: Any, bucket: str) -> dict[str, Any]:
    listed = client.list_objects_v2(Bucket=bucket)["Contents"]
    return {
        item["Key"]: (item["LastModified"], item["ETag"])
        for item in listed
        if item["Key"] != bucket_marks.KEY
    }

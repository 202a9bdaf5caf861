"""The dynamic provider of uploaded folders, against a real S3-compatible store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.output import Unknown

from infra.resources import connection
from infra.resources.folder import _FolderProvider, _lines
from infra.run import checksums
from store import bucket_marks
from store.errors import StoreError
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
        return {
            "path": str(folder),
            "files": _lines(checksums.code(folder, "dlstack:codeDir")),
            "bucket": bucket,
            "prefix": "code/",
            "store": store,
            "source": True,
        }

    return now


def test_a_folder_is_uploaded_as_it_is(
    props: Callable[[], Props], bucket: str, client: Any, object_store: SeaweedFS
) -> None:
    created = provider.create(props())
    assert created.outs == props() | {"url": f"s3://{bucket}/code"}
    assert no_secrets(created.outs, object_store)
    assert keys(client, bucket) == ["code/__init__.py", "code/sub/data.bin", "code/train.py"]
    body = client.get_object(Bucket=bucket, Key="code/sub/data.bin")["Body"].read()
    assert body == b"content of sub/data.bin"


def test_only_changes_are_uploaded(
    props: Callable[[], Props], folder: Path, bucket: str, client: Any
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
    assert updated.outs == props() | {"url": created.outs["url"]}
    assert sorted(after) == ["code/__init__.py", "code/new.py", "code/train.py"]
    assert after["code/__init__.py"] == before["code/__init__.py"]
    body = client.get_object(Bucket=bucket, Key="code/train.py")["Body"].read()
    assert body == b"changed"


def test_another_checkout_changes_nothing(props: Callable[[], Props]) -> None:
    assert provider.diff("id", props(), props() | {"path": "/elsewhere"}).changes is False


def test_another_prefix_replaces_it(props: Callable[[], Props]) -> None:
    diff = provider.diff("id", props(), props() | {"prefix": "source/"})
    assert diff.replaces == ["prefix"]


def test_another_store_gets_all_of_it(
    props: Callable[[], Props], store: Props, bucket: str, client: Any
) -> None:
    created = provider.create(props())
    assert created.outs is not None
    client.delete_object(Bucket=bucket, Key="code/train.py")
    moved = props() | {"store": store | {"in_stack": False}}
    diff = provider.diff(created.id, created.outs, moved)
    assert (diff.changes, diff.replaces) == (True, [])
    provider.update(created.id, created.outs, moved)
    assert "code/train.py" in keys(client, bucket)


def test_what_a_preview_does_not_know_changes_nothing(props: Callable[[], Props]) -> None:
    unknown = props() | {"store": Unknown(), "bucket": Unknown()}
    diff = provider.diff("id", props(), unknown)
    assert (diff.changes, diff.replaces) == (False, [])


def test_a_store_that_is_away_takes_no_folder_from_the_state(
    props: Callable[[], Props], store: Props
) -> None:
    away = props() | {"store": store | {"endpoint": "http://127.0.0.1:9"}}
    assert provider.read("id", away).id == "id"


def test_what_a_stopped_upload_left_is_no_obstacle(
    props: Callable[[], Props], folder: Path, bucket: str, client: Any
) -> None:
    """Symptom: an `up` that was stopped, then a renamed file: the old name stayed."""
    provider.create(props())
    (folder / "train.py").rename(folder / "fit.py")
    provider.create(props())
    assert keys(client, bucket) == ["code/__init__.py", "code/fit.py", "code/sub/data.bin"]


def test_foreign_objects_below_its_prefix_are_told_and_kept(
    props: Callable[[], Props], bucket: str, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="code/extra.py", Body=b"foreign")
    with pytest.raises(StoreError, match="1 object below 'code/' .* 'code/extra.py'"):
        provider.create(props())
    assert keys(client, bucket) == ["code/extra.py"]


def test_refresh_sees_what_was_changed_and_deleted_behind_its_back(
    props: Callable[[], Props], bucket: str, client: Any
) -> None:
    created = provider.create(props())
    assert created.outs is not None
    assert provider.read(created.id, created.outs).outs == created.outs
    client.delete_object(Bucket=bucket, Key="code/train.py")
    client.put_object(Bucket=bucket, Key="code/sub/data.bin", Body=b"other")
    read = provider.read(created.id, created.outs)
    assert read.outs is not None
    assert [line.split("  ")[1] for line in read.outs["files"]] == ["__init__.py"]
    assert provider.diff(created.id, read.outs, props()).changes is True
    provider.update(created.id, read.outs, props())
    body = client.get_object(Bucket=bucket, Key="code/sub/data.bin")["Body"].read()
    assert body == b"content of sub/data.bin"


def test_a_folder_deletes_its_own_files_only(
    props: Callable[[], Props], bucket: str, client: Any
) -> None:
    created = provider.create(props())
    assert created.outs is not None
    client.put_object(Bucket=bucket, Key="code/extra.py", Body=b"foreign")
    provider.delete(created.id, created.outs)
    assert keys(client, bucket) == ["code/extra.py"]
    provider.delete(created.id, created.outs)


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
    monkeypatch.setattr(
        connection, "read_credentials", lambda _: (object_store.access_key, "edited")
    )
    read = provider.read(created.id, created.outs)
    assert (read.id, read.outs) == (created.id, created.outs)


def test_a_missing_file_fails_the_upload(props: Callable[[], Props], folder: Path) -> None:
    inputs = props()
    (folder / "train.py").unlink()
    with pytest.raises(StoreError, match="train.py' to"):
        provider.create(inputs)


def test_code_is_sent_as_it_was_hashed(
    props: Callable[[], Props], folder: Path, bucket: str, client: Any
) -> None:
    """With LF, and the name in one form of Unicode, whatever this machine has."""
    (folder / "train.py").write_bytes(b"one\r\ntwo\r\n")
    (folder / "sub" / "cafe\u0301.py").write_bytes(b"\r\n\0")
    provider.create(props())
    body = client.get_object(Bucket=bucket, Key="code/train.py")["Body"].read()
    assert body == b"one\ntwo\n"
    body = client.get_object(Bucket=bucket, Key="code/sub/caf\u00e9.py")["Body"].read()
    assert body == b"\r\n\0"


def test_data_is_sent_as_it_is(
    props: Callable[[], Props], folder: Path, bucket: str, client: Any
) -> None:
    (folder / "cafe\u0301.csv").write_bytes(b"1,2\r\n")
    data = {"files": _lines(checksums.data(folder, "dlstack:dataDir")), "source": False}
    provider.create(props() | data)
    body = client.get_object(Bucket=bucket, Key="code/cafe\u0301.csv")["Body"].read()
    assert body == b"1,2\r\n"


def test_a_file_that_changed_since_it_was_hashed_fails_the_upload(
    props: Callable[[], Props], folder: Path, bucket: str, client: Any
) -> None:
    """Symptom: an edit during a long `up` was sent under the sum of the file before."""
    inputs = props()
    (folder / "train.py").write_text("edited")
    with pytest.raises(StoreError, match="train.py' was changed after its checksum was taken"):
        provider.create(inputs)
    assert "code/train.py" not in keys(client, bucket)
    provider.create(props())
    body = client.get_object(Bucket=bucket, Key="code/train.py")["Body"].read()
    assert body == b"edited"


def test_a_prefix_without_slash_is_refused(props: Callable[[], Props]) -> None:
    """It would match the keys of its neighbours, too."""
    result = provider.check({}, props() | {"prefix": "code"})
    assert [failure.property for failure in result.failures] == ["prefix"]


def _modified(client: Any, bucket: str) -> dict[str, Any]:
    contents = client.list_objects_v2(Bucket=bucket, Prefix="code/")["Contents"]
    return {item["Key"]: (item["LastModified"], item["ETag"]) for item in contents}

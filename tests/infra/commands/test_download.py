"""`python -m infra download`: a version from buckets in a SeaweedFS."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import folders
from store.client import Client, connect
from store.folders import LocalFile
from store.objects import delete_many, list_objects, write
from store.urls import S3Url
from tests.infra.commands.test_status import Bucket, Run
from tests.seaweedfs import SeaweedFS
from tests.store.test_models import put_version

HASH = "c" * 64
FILES = {"saved_model.pb": b"\x08model", "variables/a b": b"x" * 1500}
CODE = {"train.py": b"print()", "sub/other.py": b""}


@pytest.fixture
def client(object_store: SeaweedFS) -> Iterator[Client]:
    yield connect(object_store.access(), direct=True)
    connect.cache_clear()


@pytest.fixture
def data_bucket(bucket: Bucket) -> Iterator[Bucket]:
    one = Bucket(bucket.client, f"{bucket.name}-data")
    one.client.create_bucket(Bucket=one.name)
    yield one
    for entry in one.client.list_objects_v2(Bucket=one.name).get("Contents", []):
        one.client.delete_object(Bucket=one.name, Key=entry["Key"])
    one.client.delete_bucket(Bucket=one.name)


def put_folder(client: Client, bucket: str, contents: dict[str, bytes], place: Path) -> str:
    """Upload a folder; return its digest."""
    files = []
    for path, content in contents.items():
        file = place / hashlib.sha256(path.encode()).hexdigest()
        file.write_bytes(content)
        files.append(LocalFile(path, len(content), hashlib.sha256(content).hexdigest(), file))
    return folders.put(client, bucket, files).prefix.rpartition("/")[2]


def publish(
    client: Client, bucket: Bucket, number: int, made_of: dict[str, str], run_hash: str = HASH
) -> None:
    url = S3Url(bucket.name, "models/mnist")
    put_version(client, url, number, run_hash, FILES)
    manifest = json.loads(
        client.s3.get_object(Bucket=bucket.name, Key=f"models/mnist/{number}/manifest.json")[
            "Body"
        ].read()
    )
    manifest["provenance"] = {f"{name}_sha256": digest for name, digest in made_of.items()}
    write(client, url / f"{number}/manifest.json", json.dumps(manifest).encode())


@pytest.fixture
def published(
    stack: Any, client: Client, bucket: Bucket, data_bucket: Bucket, tmp_path: Path
) -> Iterator[None]:
    place = tmp_path / "sources"
    place.mkdir()
    code = put_folder(client, data_bucket.name, CODE, place)
    data = put_folder(client, data_bucket.name, {"images": b"1234"}, place)
    publish(client, bucket, 3, {"code": code, "data": data})
    publish(client, bucket, 4, {"code": "0" * 64})
    yield
    url = S3Url(bucket.name)
    delete_many(client, bucket.name, [entry.path for entry in list_objects(client, url)])


def held(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.usefixtures("published")
class TestDownload:
    def test_model_manifest_and_code_arrive(self, run: Run, tmp_path: Path) -> None:
        code, output, errors = run("download", "3", "v3")
        assert code == 0
        found = held(tmp_path / "v3")
        manifest = json.loads(found.pop("manifest.json"))
        assert (manifest["version"], manifest["run_hash"]) == (3, HASH)
        assert found == {f"model/{path}": content for path, content in FILES.items()} | {
            f"code/{path}": content for path, content in CODE.items()
        }
        lines = [line.split("  ") for line in output.splitlines()]
        assert [line[0] for line in lines] == ["model", "manifest", "code", "data"]
        assert "4 bytes" in output and "not asked for: --data" in output
        assert f"pulumi config set dlstack:model {tmp_path / 'v3' / 'model'}" in errors

    def test_the_data_comes_along_if_asked_for(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "v3").mkdir()
        code, output, _ = run("download", "3", "v3", "--data", "--json")
        told = json.loads(output)
        assert code == 0 and held(tmp_path / "v3" / "data") == {"images": b"1234"}
        assert told["version"] == 3 and told["manifest"]["run_hash"] == HASH
        assert [one["name"] for one in told["parts"] if one["folder"]] == ["model", "code", "data"]

    def test_code_that_is_not_kept_is_told_and_the_rest_comes(
        self, run: Run, tmp_path: Path
    ) -> None:
        code, output, _ = run("download", "4", "v4")
        assert code == 0 and "not in the stack's bucket: " in output
        assert "its manifest says nothing of it" in output
        assert sorted(one.name for one in (tmp_path / "v4").iterdir()) == ["manifest.json", "model"]

    def test_a_folder_that_is_not_empty_stays_as_it_is(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/file").write_text("mine")
        code, output, errors = run("download", "3", "mine")
        assert (code, output) == (1, "") and "'mine' is not empty. Name one that is" in errors
        code, _, errors = run("download", "3", "mine/file")
        assert code == 1 and "is not a folder" in errors
        assert held(tmp_path / "mine") == {"file": b"mine"}

    def test_a_version_that_is_not_there_is_told_with_those_that_are(self, run: Run) -> None:
        code, _, errors = run("download", "9", "v9")
        assert code == 1
        assert "The model 'mnist' has no version 9. It has 4, 3, 2, 1; another one" in errors
        code, _, errors = run("download", "1", "v1", "--model", "other")
        assert code == 1 and "'other' has no version 1. It has none" in errors
        with pytest.raises(SystemExit) as ended:
            run("download", "newest", "v9")
        assert ended.value.code == 2

    def test_nothing_half_made_stays(
        self, run: Run, tmp_path: Path, bucket: Bucket, data_bucket: Bucket
    ) -> None:
        # The same size, within the second of the manifest.
        bucket.put("models/mnist/3/variables/a b", "y" * 1500)
        before = {one.name for one in tmp_path.iterdir()}
        code, _, errors = run("download", "3", "v3")
        assert code == 1 and "its manifest says" in errors and "Traceback" not in errors
        assert {one.name for one in tmp_path.iterdir()} == before
        blob = hashlib.sha256(CODE["train.py"]).hexdigest()
        bucket.put("models/mnist/3/variables/a b", "x" * 1500)
        data_bucket.client.put_object(Bucket=data_bucket.name, Key=f"blobs/{blob}", Body=b"?" * 7)
        code, _, errors = run("download", "3", "v3")
        assert code == 1 and "is not what its name says" in errors
        assert {one.name for one in tmp_path.iterdir()} == before

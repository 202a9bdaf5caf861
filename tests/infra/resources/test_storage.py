"""The dynamic providers of buckets, folders and models, against a real S3-compatible store.

Reading the credentials from the cluster is replaced here; test_credentials.py covers it.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.resources import (
    certificate,
    connection,
    credentials,
    package,
    published_model,
    roll_out,
)
from infra.resources.bucket import _BucketProvider
from infra.resources.destroy_guard import _DestroyGuardProvider
from infra.resources.folder import _FolderProvider, _lines
from infra.resources.provider import Provider
from infra.run import checksums, data_set
from infra.settings import configuration
from store.client import connect
from store.errors import BucketTaken, Gone, StoreError, Unreachable, WrongCredentials
from tests.infra.conftest import Configure
from tests.seaweedfs import SeaweedFS

Props = dict[str, Any]


@pytest.fixture
def store(object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Props]:
    """The input `store` of the resources, with credentials that work."""
    monkeypatch.setattr(
        connection,
        "read_credentials",
        lambda _: (object_store.access_key, object_store.secret_key),
    )
    yield {
        "endpoint": object_store.endpoint,
        "region": "us-east-1",
        "in_stack": True,
        "context": "",
        "namespace": "test",
        "secret": "object-store",
    }
    connect.cache_clear()


@pytest.fixture
def client(object_store: SeaweedFS) -> Any:
    return object_store.client()


@pytest.fixture
def name(client: Any) -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def bucket_props(name: str, store: Props) -> Props:
    return {
        "bucket": name,
        "store": store,
        "own_prefixes": ["runs/", "models/"],
        "force_destroy": False,
    }


@pytest.fixture
def bucket(bucket_props: Props) -> str:
    _BucketProvider().create(bucket_props)
    return str(bucket_props["bucket"])


def keys(client: Any, bucket: str) -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def no_secrets(outs: Mapping[str, Any] | None, object_store: SeaweedFS) -> bool:
    text = json.dumps(outs)
    return object_store.secret_key not in text and object_store.access_key not in text


class TestBucket:
    provider = _BucketProvider()

    def test_is_created_read_and_deleted(
        self, bucket_props: Props, client: Any, object_store: SeaweedFS
    ) -> None:
        created = self.provider.create(bucket_props)
        assert created.outs == bucket_props
        assert no_secrets(created.outs, object_store)
        assert self.provider.read(created.id, bucket_props).id == created.id
        self.provider.delete(created.id, bucket_props)
        assert self.provider.read(created.id, bucket_props).id == ""
        self.provider.delete(created.id, bucket_props)

    def test_is_never_adopted(self, bucket_props: Props, client: Any) -> None:
        """`destroy` would delete a bucket that somebody else made."""
        client.create_bucket(Bucket=bucket_props["bucket"])
        with pytest.raises(BucketTaken, match="exists already and was not made by this stack"):
            self.provider.create(bucket_props)

    def test_goes_with_what_the_stacks_jobs_wrote(
        self, bucket: str, bucket_props: Props, client: Any
    ) -> None:
        client.put_object(Bucket=bucket, Key="models/mnist/1/manifest.json", Body=b"{}")
        self.provider.delete(bucket, bucket_props)
        assert self.provider.read(bucket, bucket_props).id == ""

    def test_with_foreign_objects_is_refused_and_loses_nothing(
        self, bucket: str, bucket_props: Props, client: Any
    ) -> None:
        for key in ("precious.csv", "notes/1.txt", "models/mnist/1/manifest.json"):
            client.put_object(Bucket=bucket, Key=key, Body=b"data")
        with pytest.raises(StoreError, match="holds 2 objects .* 'notes/1.txt', 'precious.csv'"):
            self.provider.delete(bucket, bucket_props)
        assert len(keys(client, bucket)) == 3

    def test_with_foreign_objects_goes_by_force(
        self, bucket: str, bucket_props: Props, client: Any
    ) -> None:
        client.put_object(Bucket=bucket, Key="precious.csv", Body=b"data")
        self.provider.delete(bucket, bucket_props | {"force_destroy": True})
        assert self.provider.read(bucket, bucket_props).id == ""

    def test_another_name_replaces_it(self, bucket_props: Props) -> None:
        diff = self.provider.diff("id", bucket_props, bucket_props | {"bucket": "other"})
        assert (diff.changes, diff.replaces) == (True, ["bucket"])

    def test_another_port_of_the_same_store_does_not(
        self, bucket_props: Props, store: Props
    ) -> None:
        moved = bucket_props | {"store": store | {"endpoint": "http://127.0.0.1:1"}}
        diff = self.provider.diff("id", bucket_props, moved)
        assert (diff.changes, diff.replaces) == (True, [])
        assert self.provider.update("id", bucket_props, moved).outs == moved

    def test_the_same_inputs_change_nothing(self, bucket_props: Props) -> None:
        assert self.provider.diff("id", bucket_props, dict(bucket_props)).changes is False

    def test_an_empty_own_prefix_is_refused(self, bucket_props: Props) -> None:
        result = self.provider.check({}, bucket_props | {"own_prefixes": [""]})
        assert [failure.property for failure in result.failures] == ["own_prefixes"]

    def test_of_an_in_stack_store_is_gone_with_its_namespace(
        self, bucket_props: Props, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "read_credentials", _secret_gone)
        self.provider.delete("id", bucket_props)
        assert self.provider.read("id", bucket_props).id == ""

    def test_of_another_store_is_not(
        self, bucket_props: Props, store: Props, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without credentials nothing is known of it: neither gone nor deleted."""
        monkeypatch.setattr(connection, "read_credentials", _secret_gone)
        outside = bucket_props | {"store": store | {"in_stack": False}}
        assert self.provider.read("id", outside).id == "id"
        with pytest.raises(Gone, match="Secret"):
            self.provider.delete("id", outside)


def _secret_gone(_: object) -> tuple[str, str]:
    raise Gone("The Secret is gone.")


class TestDestroyGuard:
    provider = _DestroyGuardProvider()

    @pytest.fixture
    def props(self, bucket: str, store: Props) -> Props:
        guarded = [{"bucket": bucket, "own_prefixes": ["runs/"]}]
        return {"buckets": guarded, "store": store, "force_destroy": False}

    def test_refuses_what_the_bucket_would_refuse_later(
        self, props: Props, bucket: str, client: Any
    ) -> None:
        """Symptom: a refused `destroy` had taken the prediction service down already."""
        client.put_object(Bucket=bucket, Key="runs/1/log.txt", Body=b"own")
        self.provider.delete("id", props)
        client.put_object(Bucket=bucket, Key="precious.csv", Body=b"data")
        with pytest.raises(StoreError, match="holds 1 object .* 'precious.csv'"):
            self.provider.delete("id", props)
        self.provider.delete("id", props | {"force_destroy": True})
        assert len(keys(client, bucket)) == 2

    def test_has_nothing_to_say_on_a_bucket_that_is_gone(
        self, props: Props, bucket: str, client: Any
    ) -> None:
        client.delete_bucket(Bucket=bucket)
        self.provider.delete("id", props)

    def test_follows_its_inputs(self, props: Props) -> None:
        created = self.provider.create(props)
        forced = props | {"force_destroy": True}
        assert created.outs == props
        assert self.provider.diff(created.id, props, dict(props)).changes is False
        assert self.provider.diff(created.id, props, forced).changes is True
        assert self.provider.update(created.id, props, forced).outs == forced


class TestErrors:
    provider = _BucketProvider()

    @pytest.mark.parametrize("wrong", ["access", "secret"])
    def test_wrong_credentials(
        self,
        bucket_props: Props,
        object_store: SeaweedFS,
        monkeypatch: pytest.MonkeyPatch,
        wrong: str,
    ) -> None:
        pair = (
            "WRONG" if wrong == "access" else object_store.access_key,
            "hunter2" if wrong == "secret" else object_store.secret_key,
        )
        monkeypatch.setattr(connection, "read_credentials", lambda _: pair)
        with pytest.raises(WrongCredentials, match="refused the credentials") as caught:
            self.provider.create(bucket_props)
        assert "hunter2" not in str(caught.value)

    def test_nobody_answers(self, bucket_props: Props, store: Props) -> None:
        nowhere = store | {"endpoint": "http://127.0.0.1:9", "in_stack": False}
        with pytest.raises(Unreachable, match="'http://127.0.0.1:9' can't be reached"):
            self.provider.create(bucket_props | {"store": nowhere})

    def test_the_store_does_not_take_the_name(self, bucket_props: Props) -> None:
        with pytest.raises(StoreError, match="InvalidBucketName"):
            self.provider.create(bucket_props | {"bucket": "No_Bucket"})


class TestFolder:
    provider = _FolderProvider()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "sub").mkdir()
        for file in ("train.py", "__init__.py", "sub/data.bin"):
            (tmp_path / file).write_text(f"content of {file}")
        return tmp_path

    @pytest.fixture
    def props(self, folder: Path, bucket: str, store: Props) -> Callable[[], Props]:
        def now() -> Props:
            return {
                "path": str(folder),
                "files": _lines(checksums.folder(folder, "codeDir")),
                "bucket": bucket,
                "prefix": "code/",
                "store": store,
            }

        return now

    def test_is_uploaded_as_it_is(
        self, props: Callable[[], Props], bucket: str, client: Any, object_store: SeaweedFS
    ) -> None:
        created = self.provider.create(props())
        assert created.outs == props() | {"url": f"s3://{bucket}/code"}
        assert no_secrets(created.outs, object_store)
        assert keys(client, bucket) == ["code/__init__.py", "code/sub/data.bin", "code/train.py"]
        body = client.get_object(Bucket=bucket, Key="code/sub/data.bin")["Body"].read()
        assert body == b"content of sub/data.bin"

    def test_only_changes_are_uploaded(
        self, props: Callable[[], Props], folder: Path, bucket: str, client: Any
    ) -> None:
        created = self.provider.create(props())
        assert created.outs is not None
        before = _modified(client, bucket)
        (folder / "train.py").write_text("changed")
        (folder / "new.py").write_text("new")
        (folder / "sub" / "data.bin").unlink()
        assert self.provider.diff(created.id, created.outs, props()).changes is True
        updated = self.provider.update(created.id, created.outs, props())
        after = _modified(client, bucket)
        assert updated.outs == props() | {"url": created.outs["url"]}
        assert sorted(after) == ["code/__init__.py", "code/new.py", "code/train.py"]
        assert after["code/__init__.py"] == before["code/__init__.py"]
        body = client.get_object(Bucket=bucket, Key="code/train.py")["Body"].read()
        assert body == b"changed"

    def test_another_checkout_changes_nothing(self, props: Callable[[], Props]) -> None:
        assert self.provider.diff("id", props(), props() | {"path": "/elsewhere"}).changes is False

    def test_another_prefix_replaces_it(self, props: Callable[[], Props]) -> None:
        diff = self.provider.diff("id", props(), props() | {"prefix": "source/"})
        assert diff.replaces == ["prefix"]

    def test_what_a_stopped_upload_left_is_no_obstacle(
        self, props: Callable[[], Props], folder: Path, bucket: str, client: Any
    ) -> None:
        """Symptom: an `up` that was stopped, then a renamed file: the old name stayed."""
        self.provider.create(props())
        (folder / "train.py").rename(folder / "fit.py")
        self.provider.create(props())
        assert keys(client, bucket) == ["code/__init__.py", "code/fit.py", "code/sub/data.bin"]

    def test_foreign_objects_below_its_prefix_are_told_and_kept(
        self, props: Callable[[], Props], bucket: str, client: Any
    ) -> None:
        client.put_object(Bucket=bucket, Key="code/extra.py", Body=b"foreign")
        with pytest.raises(StoreError, match="1 object below 'code/' .* 'code/extra.py'"):
            self.provider.create(props())
        assert keys(client, bucket) == ["code/extra.py"]

    def test_refresh_sees_what_was_changed_and_deleted_behind_its_back(
        self, props: Callable[[], Props], bucket: str, client: Any
    ) -> None:
        created = self.provider.create(props())
        assert created.outs is not None
        assert self.provider.read(created.id, created.outs).outs == created.outs
        client.delete_object(Bucket=bucket, Key="code/train.py")
        client.put_object(Bucket=bucket, Key="code/sub/data.bin", Body=b"other")
        read = self.provider.read(created.id, created.outs)
        assert read.outs is not None
        assert [line.split("  ")[1] for line in read.outs["files"]] == ["__init__.py"]
        assert self.provider.diff(created.id, read.outs, props()).changes is True
        self.provider.update(created.id, read.outs, props())
        body = client.get_object(Bucket=bucket, Key="code/sub/data.bin")["Body"].read()
        assert body == b"content of sub/data.bin"

    def test_deletes_its_own_files_only(
        self, props: Callable[[], Props], bucket: str, client: Any
    ) -> None:
        created = self.provider.create(props())
        assert created.outs is not None
        client.put_object(Bucket=bucket, Key="code/extra.py", Body=b"foreign")
        self.provider.delete(created.id, created.outs)
        assert keys(client, bucket) == ["code/extra.py"]
        self.provider.delete(created.id, created.outs)

    def test_is_gone_with_its_bucket(
        self, props: Callable[[], Props], bucket: str, client: Any
    ) -> None:
        client.delete_bucket(Bucket=bucket)
        self.provider.delete("id", props())
        assert self.provider.read("id", props()).id == ""

    def test_a_missing_file_fails_the_upload(
        self, props: Callable[[], Props], folder: Path
    ) -> None:
        inputs = props()
        (folder / "train.py").unlink()
        with pytest.raises(StoreError, match="train.py' to"):
            self.provider.create(inputs)

    def test_a_prefix_without_slash_is_refused(self, props: Callable[[], Props]) -> None:
        """It would match the keys of its neighbours, too."""
        result = self.provider.check({}, props() | {"prefix": "code"})
        assert [failure.property for failure in result.failures] == ["prefix"]


def _modified(client: Any, bucket: str) -> dict[str, Any]:
    contents = client.list_objects_v2(Bucket=bucket)["Contents"]
    return {item["Key"]: (item["LastModified"], item["ETag"]) for item in contents}


class TestPublishedModel:
    provider = published_model._PublishedModelProvider()

    @pytest.fixture
    def props(self, bucket: str, store: Props, client: Any) -> Props:
        """Three runs published; the fourth claimed its number and failed."""
        for version, run_hash in ((1, "a" * 64), (2, "b" * 64), (10, "a" * 64)):
            manifest = {"run_hash": run_hash, "metrics": {"accuracy": version / 100}}
            client.put_object(
                Bucket=bucket,
                Key=f"models/mnist/{version}/manifest.json",
                Body=json.dumps(manifest).encode(),
            )
        client.put_object(Bucket=bucket, Key="models/mnist/11/.claim", Body=b"")
        return {
            "bucket": bucket,
            "model_name": "mnist",
            "wanted_run_hash": "a" * 64,
            "store": store,
        }

    def test_is_the_newest_that_the_run_published(self, props: Props) -> None:
        outs = self.provider.create(props).outs
        assert outs is not None
        assert (outs["version"], outs["metrics"]) == (10, {"accuracy": 0.1})

    def test_is_the_pinned_version_whatever_made_it(self, props: Props) -> None:
        outs = self.provider.update("id", props, props | {"wanted_version": 2.0}).outs
        assert outs is not None
        assert (outs["version"], outs["run_hash"]) == (2, "b" * 64)

    @pytest.mark.parametrize("wanted", [{"wanted_version": 11}, {"wanted_run_hash": "c" * 64}])
    def test_missing_lists_what_is_there(self, props: Props, wanted: Props) -> None:
        with pytest.raises(StoreError, match=r"modelVersion to one of .*: 10, 2, 1\."):
            self.provider.create(props | wanted)

    def test_an_unreadable_manifest_is_named(self, props: Props, client: Any) -> None:
        key = "models/mnist/10/manifest.json"
        client.put_object(Bucket=props["bucket"], Key=key, Body=b"{")
        with pytest.raises(StoreError, match=f"{key}' is not a model's manifest"):
            self.provider.create(props)

    def test_another_run_is_an_update(self, props: Props) -> None:
        outs = self.provider.create(props).outs
        assert outs is not None
        assert self.provider.diff("id", outs, props).changes is False
        changed = self.provider.diff("id", outs, props | {"wanted_run_hash": "b" * 64})
        assert (changed.changes, changed.replaces) == (True, [])


class TestDataInTheStore:
    @pytest.fixture
    def data_of(self, object_store: SeaweedFS, configure: Configure) -> Callable[[str], Any]:
        def read(data_dir: str) -> dict[str, str]:
            configure(
                s3Endpoint=object_store.endpoint,
                s3AccessKey=object_store.access_key,
                s3SecretKey=object_store.secret_key,
                dataDir=data_dir,
            )
            loaded = configuration.load()
            assert loaded.store is not None
            return data_set.in_store(loaded.data_dir, loaded.store)

        return read

    def test_counts_by_key_size_and_etag(
        self, data_of: Callable[[str], Any], bucket: str, client: Any
    ) -> None:
        client.put_object(Bucket=bucket, Key="mnist/images.gz", Body=b"one")
        client.put_object(Bucket=bucket, Key="mnist-2/images.gz", Body=b"other")
        before = data_of(f"s3://{bucket}/mnist")
        assert list(before) == ["mnist/images.gz"]
        etag = client.head_object(Bucket=bucket, Key="mnist/images.gz")["ETag"].strip('"')
        assert before["mnist/images.gz"] == f"3-{etag}"
        assert data_of(f"s3://{bucket}/mnist/") == before
        client.put_object(Bucket=bucket, Key="mnist/images.gz", Body=b"two")
        assert data_of(f"s3://{bucket}/mnist") != before

    def test_missing_is_told(self, data_of: Callable[[str], Any], bucket: str) -> None:
        with pytest.raises(pulumi.RunError, match=f"dataDir 's3://{bucket}/none' has no files"):
            data_of(f"s3://{bucket}/none")
        with pytest.raises(
            pulumi.RunError, match="dataDir 's3://no-such-bucket/x': .*not there. Create"
        ):
            data_of("s3://no-such-bucket/x")


def test_the_paths_of_providers_are_those_that_are_in_the_states_of_stacks() -> None:
    """Pulumi pickles a provider by the path of its class, and `destroy` loads it from there."""
    assert {
        certificate,
        credentials,
        package,
        published_model,
        roll_out,
    }  # Imported, so registered.
    assert {f"{kind.__module__}.{kind.__name__}" for kind in Provider.__subclasses__()} == {
        "infra.resources.bucket._BucketProvider",
        "infra.resources.certificate._CertificateProvider",
        "infra.resources.credentials._GeneratedCredentialsProvider",
        "infra.resources.destroy_guard._DestroyGuardProvider",
        "infra.resources.folder._FolderProvider",
        "infra.resources.package._PackageProvider",
        "infra.resources.published_model._PublishedModelProvider",
        "infra.resources.roll_out._RollOutProvider",
    }

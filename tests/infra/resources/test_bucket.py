"""The dynamic provider of buckets, against a real S3-compatible store."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pulumi.output import Unknown

from infra.resources import connection
from infra.resources.bucket import _BucketProvider
from infra.resources.folder import _FolderProvider
from store import bucket_marks
from store.errors import (
    BucketTaken,
    Forbidden,
    Gone,
    NoBucket,
    StoreError,
    Unreachable,
    WrongCredentials,
)
from tests.infra.resources.conftest import JOBS, Props, keys, no_secrets
from tests.seaweedfs import SeaweedFS

provider = _BucketProvider()
folder_provider = _FolderProvider()


def test_a_bucket_is_created_read_and_deleted(
    bucket_props: Props, client: Any, object_store: SeaweedFS
) -> None:
    created = provider.create(bucket_props)
    assert created.outs is not None
    assert created.outs == bucket_props | {"bucket_id": created.outs["bucket_id"]}
    assert no_secrets(created.outs, object_store)
    assert provider.read(created.id, bucket_props).id == created.id
    provider.delete(created.id, bucket_props)
    assert provider.read(created.id, bucket_props).id == ""
    provider.delete(created.id, bucket_props)


def test_a_bucket_goes_with_what_the_stacks_jobs_wrote(
    bucket: str, bucket_props: Props, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="models/mnist/1/manifest.json", Body=b"{}")
    provider.delete(bucket, bucket_props)
    assert provider.read(bucket, bucket_props).id == ""


def test_a_bucket_with_foreign_objects_is_refused_and_loses_nothing(
    bucket: str, bucket_props: Props, client: Any
) -> None:
    for key in ("precious.csv", "notes/1.txt", "models/mnist/1/manifest.json"):
        client.put_object(Bucket=bucket, Key=key, Body=b"data")
    with pytest.raises(StoreError, match="holds 2 objects, such as 'notes/1.txt', 'precious.csv'"):
        provider.delete(bucket, bucket_props)
    assert len(keys(client, bucket)) == 3


def test_a_bucket_with_foreign_objects_goes_by_force(
    bucket: str, bucket_props: Props, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="precious.csv", Body=b"data")
    provider.delete(bucket, bucket_props | {"force_destroy": True})
    assert provider.read(bucket, bucket_props).id == ""


def test_another_name_replaces_an_empty_bucket(bucket: str, bucket_props: Props) -> None:
    diff = provider.diff("id", bucket_props, bucket_props | {"bucket": "other"})
    assert (diff.changes, diff.replaces) == (True, ["bucket"])


def test_another_name_is_refused_while_the_bucket_holds_models(
    bucket: str, bucket_props: Props, client: Any, told: list[str]
) -> None:
    """Symptom: an `up` with another bucketPrefix, or a renamed stack, deleted every model."""
    for key in ("models/mnist/1/saved_model.pb", "models/mnist/1/manifest.json", "notes"):
        client.put_object(Bucket=bucket, Key=key, Body=b"{}")
    renamed = bucket_props | {"bucket": "team-2-output"}
    with pytest.raises(StoreError, match="1 published versions .* 3 objects in all") as refused:
        provider.diff("id", bucket_props, renamed)
    assert f"bucketPrefix {bucket.rpartition('-')[0]}'" in str(refused.value)
    diff = provider.diff("id", bucket_props, renamed | {"force_destroy": True})
    assert diff.replaces == ["bucket"]
    assert f"the bucket '{bucket}' will be deleted with 1 published versions" in told[0]
    assert len(keys(client, bucket)) == 3


def test_what_a_preview_does_not_know_changes_nothing(bucket: str, bucket_props: Props) -> None:
    """Symptom: 'Unknown' object is not subscriptable, as soon as the store's key changed."""
    unknown: Any = Unknown()
    for news in (
        bucket_props | {"store": unknown, "bucket": unknown, "keys": unknown},
        bucket_props | {"store": bucket_props["store"] | {"endpoint": unknown}},
    ):
        diff = provider.diff("id", bucket_props, news)
        assert (diff.changes, diff.replaces) == (False, [])


def test_another_port_of_the_same_store_does_not_replace_it(
    bucket_props: Props, store: Props
) -> None:
    moved = bucket_props | {"store": store | {"endpoint": "http://127.0.0.1:1"}}
    diff = provider.diff("id", bucket_props, moved)
    assert (diff.changes, diff.replaces) == (True, [])


def test_the_same_inputs_change_nothing(bucket_props: Props) -> None:
    assert provider.diff("id", bucket_props, dict(bucket_props)).changes is False


def test_an_empty_own_prefix_is_refused(bucket_props: Props) -> None:
    result = provider.check({}, bucket_props | {"own_prefixes": [""]})
    assert [failure.property for failure in result.failures] == ["own_prefixes"]


def test_a_bucket_of_an_in_stack_store_is_gone_with_its_namespace(
    bucket_props: Props, cluster: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.clear()
    monkeypatch.setattr(connection, "read_variables", _secret_gone)
    provider.delete("id", bucket_props)
    assert provider.read("id", bucket_props).id == ""


def test_a_bucket_is_not_gone_with_its_secret(
    bucket_props: Props, store: Props, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: the Secret deleted by hand, a refresh, and full buckets in nobody's state."""
    monkeypatch.setattr(connection, "read_variables", _secret_gone)
    for in_stack in (True, False):
        props = bucket_props | {"store": store | {"in_stack": in_stack}}
        with pytest.raises(Gone, match="Secret"):
            provider.delete("id", props)
    assert provider.read("id", bucket_props).id == "id"


def test_a_store_of_the_stacks_own_that_is_away_keeps_its_buckets(
    bucket_props: Props, store: Props
) -> None:
    """Symptom: the store's Deployment deleted by hand, and no `up --refresh` could repair it."""
    away = bucket_props | {"store": store | {"endpoint": "http://127.0.0.1:9"}}
    assert provider.read("id", away).id == "id"
    with pytest.raises(Unreachable, match="pulumi up --refresh"):
        provider.delete("id", away)
    provider.delete("id", away | {"force_destroy": True})


_FORBIDDEN = b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
_NO_BUCKETS = b"<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>"


@pytest.mark.parametrize("first", [(403, _FORBIDDEN), (200, _NO_BUCKETS)], ids=["403", "200"])
def test_a_store_of_the_stacks_own_that_is_about_to_end_keeps_what_it_holds(
    bucket_props: Props, store: Props, first: tuple[int, bytes]
) -> None:
    """Kubernetes still sends it requests. It forbids them all, or answers one and then none."""

    class Ending(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = first if self.path.startswith("/?") else (403, _FORBIDDEN)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ending) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ending = store | {"endpoint": f"http://127.0.0.1:{server.server_port}"}
        props = bucket_props | {"store": ending}
        assert provider.read("id", props).id == "id"
        folder = props | {"digest": "0" * 64, "path": "."}
        assert folder_provider.read("id", folder).id == "id"
        with pytest.raises(Forbidden, match="dlstack:s3AccessKey"):
            provider.read("id", props | {"store": ending | {"in_stack": False}})
        server.shutdown()


def test_a_store_of_yours_that_is_away_is_an_error(bucket_props: Props, store: Props) -> None:
    away = store | {"endpoint": "http://127.0.0.1:9", "in_stack": False}
    for props in (bucket_props | {"store": away}, {**bucket_props, "store": away}):
        with pytest.raises(Unreachable, match="dlstack:s3Endpoint"):
            provider.read("id", props)
        with pytest.raises(Unreachable):
            provider.delete("id", props | {"force_destroy": True})


def test_a_key_that_was_revoked_already_does_not_stop_the_up_that_brings_the_new_one(
    bucket_props: Props,
    store: Props,
    object_store: SeaweedFS,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    revoked = object_store.access(access_key="REVOKED").variables
    monkeypatch.setattr(connection, "read_variables", lambda _: revoked)
    props = bucket_props | {"store": store | {"in_stack": False}}
    assert provider.read("id", props).id == "id"
    assert "refuses the keys of the last 'pulumi up'" in told[0]


def test_a_job_that_has_the_old_key_is_named(
    bucket: str, bucket_props: Props, cluster: dict[str, Any], told: list[str]
) -> None:
    cluster[JOBS] = {
        "items": [
            {"metadata": {"name": "training-1"}, "status": {"active": 1}},
            {"metadata": {"name": "training-0"}, "status": {"succeeded": 1}},
        ]
    }
    olds, news = bucket_props | {"keys": "old"}, bucket_props | {"keys": "new"}
    assert provider.diff("id", olds, news).changes is True
    provider.update("id", olds, news)
    assert [line.split("'")[1] for line in told] == ["training-1"]
    provider.update("id", news, news)
    assert len(told) == 1


def test_a_bucket_that_went_is_made_again(
    bucket: str, bucket_props: Props, client: Any, store: Props
) -> None:
    """The in-stack store has another, empty volume."""
    client.delete_object(Bucket=bucket, Key=bucket_marks.KEY)
    client.delete_bucket(Bucket=bucket)
    news = bucket_props | {"store": store | {"volume": "another"}}
    assert provider.diff("id", bucket_props, news).changes is True
    provider.update("id", bucket_props, news)
    assert keys(client, bucket) == []


def test_a_versioned_bucket_goes_with_its_versions(
    bucket: str, bucket_props: Props, client: Any
) -> None:
    """Symptom: BucketNotEmpty for ever, forceDestroy or not, when half of the stack was gone."""
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key in ("models/mnist/1/manifest.json", "precious.csv"):
        client.put_object(Bucket=bucket, Key=key, Body=b"1")
        client.put_object(Bucket=bucket, Key=key, Body=b"2")
        client.delete_object(Bucket=bucket, Key=key)
    client.create_multipart_upload(Bucket=bucket, Key="models/mnist/2/saved_model.pb")
    assert keys(client, bucket) == []
    with pytest.raises(StoreError, match="1 object .older and deleted versions .*precious.csv"):
        provider.delete(bucket, bucket_props)
    provider.delete(bucket, bucket_props | {"force_destroy": True})
    assert provider.read(bucket, bucket_props).id == ""


def test_the_stacks_own_versions_go_without_a_word(
    bucket: str, bucket_props: Props, client: Any, tmp_path: Path
) -> None:
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for text in ("1", "2"):
        client.put_object(
            Bucket=bucket, Key="code/a", Body=text.encode(), Metadata={"dlstack-sha256": text}
        )
    provider.delete(bucket, bucket_props)
    assert provider.read(bucket, bucket_props).id == ""


def _secret_gone(_: object) -> tuple[str, str]:
    raise Gone("The Secret is gone.")


@pytest.mark.parametrize("wrong", ["access", "secret"])
def test_wrong_credentials_are_told(
    bucket_props: Props,
    object_store: SeaweedFS,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    other = {"access_key": "WRONG"} if wrong == "access" else {"secret_key": "hunter2"}
    variables = object_store.access(**other).variables
    monkeypatch.setattr(connection, "read_variables", lambda _: variables)
    with pytest.raises(WrongCredentials, match="refused the credentials") as caught:
        provider.create(bucket_props)
    assert "hunter2" not in str(caught.value)


def test_a_store_that_does_not_answer_is_told(bucket_props: Props, store: Props) -> None:
    nowhere = store | {"endpoint": "http://127.0.0.1:9", "in_stack": False}
    with pytest.raises(Unreachable, match="'http://127.0.0.1:9' can't be reached"):
        provider.create(bucket_props | {"store": nowhere})


def test_a_name_that_the_store_does_not_take_is_told(bucket_props: Props) -> None:
    with pytest.raises(StoreError, match="InvalidBucketName"):
        provider.create(bucket_props | {"bucket": "No_Bucket"})


class TestGiven:
    """A bucket that somebody else has made, for the stack to use."""

    @pytest.fixture
    def given(self, bucket_props: Props, store: Props) -> Props:
        theirs = store | {"in_stack": False}
        return bucket_props | {"given": True, "store": theirs, "own_prefixes": []}

    @pytest.fixture
    def theirs(self, given: Props, client: Any) -> str:
        client.create_bucket(Bucket=given["bucket"])
        client.put_object(Bucket=given["bucket"], Key="theirs", Body=b"x")
        return str(given["bucket"])

    def test_it_is_used_and_never_deleted(
        self, given: Props, theirs: str, client: Any, told: list[str]
    ) -> None:
        created = provider.create(given)
        assert created.outs is not None and created.outs["bucket_id"]
        for key in ("blobs/" + "0" * 64, "models/m/1/manifest.json", "runs/a/log.txt"):
            client.put_object(Bucket=theirs, Key=key, Body=b"x")
        assert provider.diff(theirs, created.outs, given).changes is False
        for force in (False, True):
            provider.delete(theirs, created.outs | {"force_destroy": force})
        held = [one["Key"] for one in client.list_objects_v2(Bucket=theirs)["Contents"]]
        assert held == [
            "blobs/" + "0" * 64,
            "models/m/1/manifest.json",
            "runs/a/log.txt",
            "theirs",
        ]
        assert f"The bucket '{theirs}' was there before this stack, and stays" in told[0]

    def test_another_stack_may_use_it_after_that_and_not_before(
        self, given: Props, theirs: str, client: Any, told: list[str]
    ) -> None:
        created = provider.create(given)
        other = given | {"store": given["store"] | {"stack_id": "5678"}}
        with pytest.raises(BucketTaken, match=r"belongs to the stack .*\. Name another bucket\."):
            provider.create(other)
        provider.delete(theirs, created.outs or {})
        assert provider.create(other).outs

    def test_one_that_is_not_there_is_not_made(self, given: Props, client: Any) -> None:
        with pytest.raises(NoBucket, match="is not there.* the stack makes none that they name"):
            provider.create(given)
        names = [one["Name"] for one in client.list_buckets()["Buckets"]]
        assert given["bucket"] not in names

    def test_another_name_leaves_it_as_it_is(
        self, given: Props, theirs: str, told: list[str]
    ) -> None:
        created = provider.create(given)
        diff = provider.diff(theirs, created.outs or {}, given | {"bucket": "other"})
        assert diff.replaces == ["bucket"]
        assert f"Nothing of the bucket '{theirs}' is copied to 'other'." in told

    def test_it_never_becomes_one_that_goes_with_the_stack(self, given: Props, theirs: str) -> None:
        """Symptom: without the key, and of the name that the stack would have chosen, it did."""
        created = provider.create(given)
        own = {name: value for name, value in given.items() if name != "given"}
        with pytest.raises(StoreError, match="was there before this stack, and would be deleted"):
            provider.diff(theirs, created.outs or {}, own)

    def test_the_stacks_own_bucket_may_become_one_that_stays(
        self, bucket: str, bucket_props: Props, client: Any, told: list[str], store: Props
    ) -> None:
        theirs = bucket_props | {"store": store | {"in_stack": False}}
        olds = provider.update(bucket, bucket_props, theirs).outs or {}
        given = theirs | {"given": True}
        assert provider.diff(bucket, olds, given).replaces == []
        provider.delete(bucket, provider.update(bucket, olds, given).outs or {})
        assert client.head_bucket(Bucket=bucket)

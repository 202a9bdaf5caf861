"""Buckets that go from one real object store to another one."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.resources import connection
from infra.resources.bucket import _BucketProvider
from store import bucket_marks
from store.errors import BucketTaken, StoreError
from tests.infra.resources.conftest import JOBS, Props, keys
from tests.seaweedfs import SeaweedFS

provider = _BucketProvider()

MODEL = "models/mnist/1/manifest.json"


@pytest.fixture(scope="module")
def other_store() -> Iterator[SeaweedFS]:
    with SeaweedFS() as store:
        yield store


@pytest.fixture
def there(
    store: Props,
    object_store: SeaweedFS,
    other_store: SeaweedFS,
    monkeypatch: pytest.MonkeyPatch,
) -> Props:
    """The input `store` of the other one, whose credentials are in another Secret."""
    secrets = {
        "object-store": object_store.access().variables,
        "object-store-2": other_store.access().variables,
    }
    monkeypatch.setattr(connection, "read_variables", lambda store: secrets[store["secret"]])
    return store | {
        "endpoint": other_store.endpoint,
        "secret": "object-store-2",
        "in_stack": False,
    }


@pytest.fixture
def olds(bucket_props: Props, store: Props, client: Any) -> Props:
    """A bucket with a model in the first store, which is not the stack's own."""
    created = provider.create(bucket_props | {"store": store | {"in_stack": False}})
    assert created.outs is not None
    client.put_object(Bucket=created.outs["bucket"], Key=MODEL, Body=b"{}")
    return created.outs


def moved(olds: Props, store: Props, **changes: Any) -> Props:
    """What the bucket is after an `up` that names another store."""
    news = {key: value for key, value in olds.items() if key != "bucket_id"}
    news |= {"store": store, **changes}
    diff = provider.diff("id", olds, news)
    assert (diff.changes, diff.replaces) == (True, [])
    outs = provider.update("id", olds, news).outs
    assert outs is not None
    return outs


def test_all_goes_along_and_the_old_bucket_stays(
    olds: Props, there: Props, client: Any, other_store: SeaweedFS, told: list[str]
) -> None:
    news = moved(olds, there)
    assert keys(other_store.client(), olds["bucket"]) == [MODEL]
    assert keys(client, olds["bucket"]) == [MODEL]
    assert news["bucket_id"] != olds["bucket_id"]
    assert f"aws s3 rb --force s3://{olds['bucket']} --endpoint-url http://" in told[-1]


def test_nobody_is_told_to_delete_a_bucket_of_somebody_elses(
    olds: Props, there: Props, other_store: SeaweedFS, told: list[str]
) -> None:
    moved(olds | {"given": True}, there, given=False)
    assert keys(other_store.client(), olds["bucket"]) == [MODEL]
    assert told[-1].endswith("was there before this stack, and stays.") and "rb" not in told[-1]


def test_and_back_with_what_was_published_meanwhile(
    olds: Props, there: Props, client: Any, other_store: SeaweedFS, told: list[str]
) -> None:
    """The old bucket bears the stack's mark, and is behind by now."""
    news = moved(olds, there)
    later = "models/mnist/2/manifest.json"
    other_store.client().put_object(Bucket=olds["bucket"], Key=later, Body=b"{}")
    assert moved(news, olds["store"])["bucket_id"] == olds["bucket_id"]
    assert keys(client, olds["bucket"]) == [MODEL, later]


def test_from_the_stacks_own_store(
    olds: Props, store: Props, there: Props, other_store: SeaweedFS, told: list[str]
) -> None:
    moved(olds | {"store": store}, there, own_prefixes=[])
    assert keys(other_store.client(), olds["bucket"]) == [MODEL]
    assert told[-1].endswith(
        f"were copied from the stack's own store to the store at '{there['endpoint']}'."
    )


def test_another_name_in_another_store_is_a_move(
    olds: Props, there: Props, client: Any, other_store: SeaweedFS, told: list[str]
) -> None:
    name = f"{olds['bucket']}-2"
    news = moved(olds, there, bucket=name)
    assert keys(other_store.client(), name) == [MODEL]
    provider.delete("id", news | {"force_destroy": True})
    assert keys(client, olds["bucket"]) == [MODEL]


def test_another_address_of_the_same_store_copies_nothing(
    olds: Props, client: Any, told: list[str]
) -> None:
    """Symptom: from http to https, "the bucket exists already", with the advice to delete it."""
    same = olds["store"] | {"endpoint": olds["store"]["endpoint"].replace("127.0.0.1", "localhost")}
    assert moved(olds, same)["bucket_id"] == olds["bucket_id"]
    gone = olds | {"store": olds["store"] | {"endpoint": "http://127.0.0.1:9"}}
    assert moved(gone, same)["bucket_id"] == olds["bucket_id"]
    assert told == []
    assert keys(client, olds["bucket"]) == [MODEL]


def test_a_bucket_that_was_copied_by_hand_gets_what_it_lacks(
    olds: Props, there: Props, client: Any, other_store: SeaweedFS, told: list[str]
) -> None:
    """Its mark was copied with the rest, so it looks like the same bucket."""
    by_hand = other_store.client()
    by_hand.create_bucket(Bucket=olds["bucket"])
    mark = client.get_object(Bucket=olds["bucket"], Key=bucket_marks.KEY)["Body"].read()
    by_hand.put_object(Bucket=olds["bucket"], Key=bucket_marks.KEY, Body=mark)
    moved(olds, there)
    assert keys(by_hand, olds["bucket"]) == [MODEL]


def test_an_old_store_that_does_not_answer_fails_the_move(
    olds: Props, there: Props, told: list[str]
) -> None:
    away = olds | {"store": olds["store"] | {"endpoint": "http://127.0.0.1:9"}}
    with pytest.raises(StoreError, match="holds can't be copied to .* or set the dlstack:s3 keys"):
        moved(away, there)


def test_an_old_store_that_is_gone_for_good_is_left_behind_by_force(
    olds: Props, there: Props, other_store: SeaweedFS, told: list[str]
) -> None:
    away = olds | {"store": olds["store"] | {"endpoint": "http://127.0.0.1:9"}}
    moved(away, there, force_destroy=True)
    assert keys(other_store.client(), olds["bucket"]) == []
    assert "was copied" in told[0]


def test_a_run_that_still_writes_fails_the_move(
    olds: Props, there: Props, cluster: dict[str, Any], told: list[str]
) -> None:
    cluster[JOBS] = {"items": [{"metadata": {"name": "training-1"}, "status": {"active": 1}}]}
    with pytest.raises(StoreError, match="'training-1' still trains, .* infra cancel"):
        moved(olds, there)


def test_somebody_elses_bucket_in_the_new_store_is_refused(
    olds: Props, there: Props, other_store: SeaweedFS, told: list[str]
) -> None:
    client = other_store.client()
    client.create_bucket(Bucket=olds["bucket"])
    client.put_object(Bucket=olds["bucket"], Key="theirs", Body=b"x")
    with pytest.raises(BucketTaken):
        moved(olds, there)
    assert keys(client, olds["bucket"]) == ["theirs"]


def test_an_old_bucket_that_is_gone_has_nothing_to_copy(
    olds: Props, there: Props, client: Any, other_store: SeaweedFS, told: list[str]
) -> None:
    for key in (MODEL, bucket_marks.KEY):
        client.delete_object(Bucket=olds["bucket"], Key=key)
    client.delete_bucket(Bucket=olds["bucket"])
    moved(olds, there)
    assert keys(other_store.client(), olds["bucket"]) == []
    assert "is gone: nothing of it is copied" in told[0]


def test_of_a_given_bucket_only_what_dlstack_has_put_there_goes_along(
    olds: Props, there: Props, client: Any, other_store: SeaweedFS, told: list[str]
) -> None:
    """Symptom: terabytes of a team's own were copied with it."""
    ours = [
        f"blobs/{'a' * 64}",
        f"folders/{'b' * 64}",
        MODEL,
        "models/mnist/1/saved_model.pb",
        "models/mnist/2/.claim",
        f"packages/{'d' * 64}/wheels.json",
        f"runs/{'c' * 12}/checkpoints/1",
        f"runs/{'c' * 12}/run.json",
    ]
    theirs = [
        "blobs/large",
        "models/bert/1/saved_model.pb",
        "models/readme",
        f"runs/{'d' * 12}/notes",
        "packages/main/Packages.gz",
        "theirs",
    ]
    for key in (*ours, *theirs):
        client.put_object(Bucket=olds["bucket"], Key=key, Body=b"{}")
    moved(olds | {"given": True}, there, given=False)
    assert keys(other_store.client(), olds["bucket"]) == sorted(ours)
    assert f"{len(ours)} objects of the bucket" in told[-1]


def test_what_a_given_bucket_holds_is_not_overwritten(
    olds: Props, there: Props, client: Any, other_store: SeaweedFS, told: list[str]
) -> None:
    target = other_store.client()
    target.create_bucket(Bucket=olds["bucket"])
    target.put_object(Bucket=olds["bucket"], Key=MODEL, Body=b"theirs")
    time.sleep(1.1)
    with pytest.raises(BucketTaken, match=f"has another '{MODEL}', .* nothing was copied"):
        moved(olds, there, given=True)
    assert target.get_object(Bucket=olds["bucket"], Key=MODEL)["Body"].read() == b"theirs"
    # What an earlier, cut short move has put there, is the stack's.
    target.put_object(Bucket=olds["bucket"], Key=MODEL, Body=b"half")
    moved(olds, there, given=True)
    assert target.get_object(Bucket=olds["bucket"], Key=MODEL)["Body"].read() == b"{}"

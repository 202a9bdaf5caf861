"""Buckets that a stack makes, as dynamic resources. This path is part of existing stacks' state.

A bucket is deleted with the stack only when it holds nothing that the stack did not put there
(`foreign_objects`), and bears no other stack's mark. An `up` never deletes what a bucket holds: a
change of the store moves it (`moving`), a change of its name is refused.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    UpdateResult,
)

from store import bucket_marks, buckets, contents, dialect, pruning
from store.bucket_marks import BucketMark
from store.client import Client
from store.errors import Gone, NoBucket, StoreError
from store.objects import changed_at, delete
from store.urls import S3Url

from . import foreign_objects
from .connection import Store, connect, connect_to_delete, connect_when_it_answers
from .engine import tell
from .force import is_forced
from .moving import is_elsewhere, jobs_that_train, move
from .ownership import is_anothers, look_into, take, whose
from .provider import Provider, changed, inputs_of

_STARTUP_SECONDS = 30.0
"""How long the in-stack store may take to answer: it was Ready, and may have been started anew."""

_CLOCKS_DIFFER_BY = timedelta(minutes=15)
"""At most: more is more than signatures allow."""

_INPUTS = ("bucket", "store", "own_prefixes", "force_destroy", "keys", "given")


class _BucketProvider(Provider):
    may_be_empty = frozenset({"keys"})

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        result = super().check(_olds, news)
        if "" in news["own_prefixes"]:
            result.failures.append(
                CheckFailure("own_prefixes", "An empty prefix is everything. Use force_destroy.")
            )
        return result

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        replaces = []
        if not is_elsewhere(_olds, _news):
            if changed(_olds, _news, "bucket"):
                _require_nothing_lost(_olds, _news)
                replaces = ["bucket"]
            elif _is_given(_olds):
                _require_given(_news)
        return DiffResult(changes=bool(changed(_olds, _news, *_INPUTS)), replaces=replaces)

    def create(self, props: dict[str, Any]) -> CreateResult:
        client = connect_when_it_answers(props["store"], _STARTUP_SECONDS)
        mark = take(client, props["bucket"], props["store"], known=False, given=_is_given(props))
        # Of both buckets, the one that looks after the keys says it.
        for lack in dialect.of(client, props["bucket"]).lacks if props["keys"] else ():
            tell(f"The object store at '{client.endpoint}': {lack}", stays=True)
        return CreateResult(props["bucket"], _outputs(props, mark))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            look_into(props["bucket"], props["store"], lambda _: None)
        except Gone:
            return ReadResult("", inputs_of(props))
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        client = connect_when_it_answers(_news["store"], _STARTUP_SECONDS)
        if is_elsewhere(_olds, _news):
            mark = move(_olds, _news)
        else:
            given = _is_given(_news)
            mark = take(client, _news["bucket"], _news["store"], known=True, given=given)
            if _olds.get("keys") and changed(_olds, _news, "keys"):
                _tell_who_has_the_old_key(_news["store"])
        return UpdateResult(_outputs(_news, mark))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        # Not the id: a bucket that was moved may have got another name.
        bucket, store = _props["bucket"], _props["store"]
        client = connect_to_delete(store, lambda: is_forced(_props))
        if client is None:
            return
        try:
            mark = bucket_marks.find(client, bucket)
            if mark is not None and is_anothers(mark, store):
                tell(
                    f"The bucket '{bucket}' is left as it is: it belongs to {whose(mark)}.",
                    stays=True,
                )
                return
            if _is_given(_props):
                _give_back(client, bucket)
                return
            held = contents.look(client, bucket)
        except NoBucket:
            return
        found = foreign_objects.holding(client, bucket, held, _props["own_prefixes"])
        if found and not is_forced(_props):
            raise foreign_objects.refusal([found])
        contents.delete(client, bucket, held, last=bucket_marks.KEY)
        buckets.delete(client, bucket)


def _is_given(props: Mapping[str, Any]) -> bool:
    """Say whether somebody else has made the bucket, and keeps it."""
    return bool(props.get("given"))


def _require_given(news: Mapping[str, Any]) -> None:
    """Raise if a bucket of somebody else's would be the stack's own from now on, and go with it."""
    if not _is_given(news):
        raise StoreError(
            f"The bucket '{news['bucket']}' was there before this stack, and would be deleted with "
            "it from now on: dlstack:dataBucket or dlstack:outputBucket does not name it any more. "
            "Set that key again, or dlstack:bucketPrefix to another prefix."
        )


def _give_back(client: Client, bucket: str) -> None:
    """Leave a bucket with all that it holds but the stack's mark: another stack may use it now.

    What lists of objects don't show, as an upload in parts was cut short, nobody would find.
    """
    since, now = changed_at(client, S3Url(bucket, bucket_marks.KEY)), datetime.now(UTC)
    if since is not None:
        left = pruning.cut_short(client, bucket, since, now + _CLOCKS_DIFFER_BY)
        contents.abort(client, bucket, [one.upload for one in left])
    delete(client, S3Url(bucket, bucket_marks.KEY))
    tell(
        f"The bucket '{bucket}' was there before this stack, and stays with what it holds: code "
        "and data are below 'blobs/' and 'folders/', runs and models below 'runs/', 'models/' and "
        "'packages/'.",
        stays=True,
    )


def _outputs(props: dict[str, Any], mark: BucketMark) -> dict[str, Any]:
    return {**inputs_of(props), "bucket_id": mark.bucket_id}


def _require_nothing_lost(olds: dict[str, Any], news: dict[str, Any]) -> None:
    """Raise if another name would leave the old bucket with things in it to be deleted.

    Where that is wanted (`force_destroy`), say what goes.
    """
    bucket = olds["bucket"]
    if _is_given(olds):
        tell(f"Nothing of the bucket '{bucket}' is copied to '{news['bucket']}'.", stays=True)
        return
    try:
        client = connect(olds["store"])
        held = contents.look(client, bucket)
    except Gone:
        return
    found = foreign_objects.keys(client, bucket, held, [])
    if not found:
        return
    models = sum(key.startswith("models/") and key.endswith("/manifest.json") for key in found)
    lost = f"{models} published versions of models and {foreign_objects.count(found)} in all"
    keep = f"'pulumi config set dlstack:bucketPrefix {bucket.rpartition('-')[0]}'"
    if news["force_destroy"]:
        tell(
            f"dlstack:forceDestroy is true: the bucket '{bucket}' will be deleted with {lost}. "
            f"{keep} would keep it.",
            stays=True,
        )
        return
    raise StoreError(
        f"dlstack:bucketPrefix (by default the stack's name) would now lead to the bucket "
        f"'{news['bucket']}', and '{bucket}' would be deleted with {lost}. To keep it, run {keep}. "
        "To have it deleted, set dlstack:forceDestroy to true."
    )


def _tell_who_has_the_old_key(store: Store) -> None:
    for name in jobs_that_train(store):
        tell(
            f"The Job '{name}' goes on with the old key of the object store. "
            "Revoke that key when the Job has ended.",
            stays=True,
        )


class Bucket(Resource, module="s3", name="Bucket"):
    """A bucket that this stack makes, and deletes when only the stack's own objects are in it."""

    bucket: pulumi.Output[str]
    """Its name, known once it exists."""

    def __init__(
        self,
        name: str,
        *,
        bucket: str,
        store: Store,
        own_prefixes: Sequence[str],
        force_destroy: bool,
        keys: pulumi.Input[str],
        given: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare a bucket.

        Args:
            name: logical name.
            bucket: physical name, from `names.bucket`.
            store: the object store it lies in.
            own_prefixes: what the stack's Jobs write, and `destroy` may delete.
            force_destroy: delete everything that is in it.
            given: somebody else has made it, and it is never deleted.
            keys: changes with the store's credentials, and says nothing of them; empty: they stay.
            opts: resource options.
        """
        props = {
            "bucket": bucket,
            "store": store,
            "own_prefixes": list(own_prefixes),
            "force_destroy": force_destroy,
            "keys": keys,
            "bucket_id": None,
            # Absent where it is false: states of before have no such input.
            **({"given": True} if given else {}),
        }
        super().__init__(_BucketProvider(), name, props, opts)

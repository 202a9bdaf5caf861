"""What a training run publishes, seen in the bucket as soon as it is there.

The Job is complete some two seconds later: its pod has to end, the kubelet to notice it, and the
Job's controller to count it.
"""

from collections.abc import Mapping
from typing import Any

from store import models
from store.client import Client
from store.errors import StoreError
from store.urls import S3Url

from ..run import run_record
from ..run.run_record import Progress
from .connection import connect


class Publication:
    """The version that a run is about to publish."""

    def __init__(self, props: Mapping[str, Any]) -> None:
        """Note down which versions are there already.

        Args:
            props: `store`, `bucket`, `model_name` and `run_hash`.
        """
        self._run_hash = props["run_hash"]
        self._bucket = props["bucket"]
        self._url = S3Url(props["bucket"], f"models/{props['model_name']}")
        self._client: Client | None = None
        try:
            self._client = connect(props["store"])
            self._before = {one.number for one in models.published(self._client, self._url)}
        except StoreError:
            # Nobody can tell what is new, then: the Job's end says that there is something.
            self._client = None

    def is_there(self) -> bool:
        """Say whether the run has published a version since; a store that is away says nothing."""
        if self._client is None:
            return False
        try:
            return any(
                one.number not in self._before
                and models.read_manifest(self._client, one.url).run_hash == self._run_hash
                for one in models.published(self._client, self._url)
            )
        except StoreError:
            return False

    def progress(self) -> Progress | None:
        """Return how far the run says that it is; None if it does not, or the store is away."""
        if self._client is None:
            return None
        return run_record.progress_of(self._client, self._bucket, self._run_hash)

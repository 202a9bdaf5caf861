"""Fixtures that several folders of tests share."""

from collections.abc import Iterator

import pytest

from tests.seaweedfs import SeaweedFS


@pytest.fixture(scope="session")
def object_store() -> Iterator[SeaweedFS]:
    """A running S3-compatible store. Tests make their own buckets in it."""
    with SeaweedFS() as store:
        yield store

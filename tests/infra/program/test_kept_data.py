"""A data set that is not on this machine any more, or never was, and lies in the stack's bucket."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pulumi
import pytest

from store import buckets, folders
from store.objects import delete, delete_many, list_objects
from store.urls import S3Url
from tests.infra.conftest import STACK, Engine, Up
from tests.infra.program.conftest import PLACE, Deployed
from tests.infra.program.test_model_import import FOLDER
from tests.infra.program.test_program import JOB

DESCRIPTION = "kubernetes:core/v1:ConfigMap"


@pytest.fixture
def kept(
    deployed: Deployed, engine: Engine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Url]:
    """The index of the data of a stack whose description is what its first `up` has written."""
    monkeypatch.setattr(pulumi.log, "info", lambda line: None)
    told = deployed.cluster.answers[f"{PLACE}/configmaps/stack"]["data"]
    wrote = engine.the(DESCRIPTION, "description")["data"]
    told |= {name: wrote[name] for name in ("dataDir", "dataDigest", "dataBucket")}
    client, bucket = deployed.client, told["dataBucket"]
    assert bucket == f"{STACK}-data"
    buckets.create(client, bucket)
    file = project / "data" / "images.gz"
    content = file.read_bytes()
    one = folders.LocalFile("images.gz", len(content), hashlib.sha256(content).hexdigest(), file)
    url = folders.put(client, bucket, [one])
    assert url == folders.index(bucket, told["dataDigest"])
    yield url
    delete_many(client, bucket, [entry.path for entry in list_objects(client, S3Url(bucket))])
    buckets.delete(client, bucket)


def test_an_up_without_the_data_changes_nothing(
    up: Up,
    engine: Engine,
    deployed: Deployed,
    kept: S3Url,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom: a colleague without the data set could not change a number of pods."""
    up()
    before, told = engine.the(FOLDER, "data"), engine.the(DESCRIPTION, "description")
    shutil.rmtree(project / "data")
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lines.append)
    up(servingReplicas="2")
    assert engine.the(FOLDER, "data") == before
    assert engine.the(JOB, "training-job") == deployed.job
    assert engine.the(DESCRIPTION, "description") == told
    assert "dlstack:dataDir 'data' is not on this machine; unchanged: 1 file that" in lines[0]
    assert "the only copy. 'python -m infra download VERSION DIR --data' fetches" in lines[0]


def test_other_code_is_trained_on_it(
    up: Up, engine: Engine, deployed: Deployed, kept: S3Url, project: Path
) -> None:
    shutil.rmtree(project / "data")
    (project / "code" / "train.py").write_text("print('another')\n")
    up()
    assert engine.the(JOB, "training-job") != deployed.job
    assert engine.the(FOLDER, "data")["digest"] == kept.prefix.removeprefix(folders.INDEXES)


def test_a_pinned_version_forgets_no_data(
    up: Up, engine: Engine, deployed: Deployed, kept: S3Url
) -> None:
    up()
    told = engine.the(DESCRIPTION, "description")["data"]
    up(modelVersion="1")
    pinned = engine.the(DESCRIPTION, "description")["data"]
    assert [pinned[name] for name in ("dataDir", "dataDigest")] == ["data", told["dataDigest"]]


def test_what_the_bucket_has_not_is_told(
    up: Up, deployed: Deployed, kept: S3Url, project: Path
) -> None:
    shutil.rmtree(project / "data")
    with pytest.raises(pulumi.RunError, match=r"dataDir 'other' is not a folder.*'make data'"):
        up(dataDir="other")
    told = deployed.cluster.answers[f"{PLACE}/configmaps/stack"]["data"]
    delete(deployed.client, kept)
    with pytest.raises(pulumi.RunError, match="not on this machine, nor in the bucket. Run 'pul"):
        up()
    told["storeEndpoint"] = "http://127.0.0.1:9"
    with pytest.raises(pulumi.RunError, match="this machine, and the bucket .* can't be looked"):
        up()
    del told["dataDigest"]
    with pytest.raises(pulumi.RunError, match="dataDir 'data' is not a folder"):
        up()


def test_a_file_in_the_place_of_the_folder_is_refused(
    up: Up, deployed: Deployed, kept: S3Url, project: Path
) -> None:
    shutil.rmtree(project / "data")
    (project / "data").write_text("")
    with pytest.raises(pulumi.RunError, match="dataDir 'data' is not a folder"):
        up()

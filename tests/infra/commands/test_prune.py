"""`python -m infra prune`: what a stack needs by its cluster and its state, and what is told.

What can go of buckets is in tests/store/test_pruning.py; on a real cluster:
tests/cluster/with_own_stacks/test_life_of_a_stack.py.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.commands import deployed
from infra.resources import pruning
from infra.run.run_hash import short
from store import bucket_marks, prune_mark
from store.client import Client
from store.objects import delete_many, list_objects
from store.urls import S3Url
from tests.infra.commands.test_download import client, data_bucket, publish, put_folder
from tests.infra.commands.test_job_state import ended, job
from tests.infra.commands.test_status import (
    APPS,
    JOBS,
    PLACE,
    Bucket,
    Run,
    deployment,
    prediction_pod,
    program,
    serving,
)

__all__ = ["client", "data_bucket"]

REPLICAS = "/apis/apps/v1/namespaces/dlstack-dev/replicasets"
STATE = "pulumi-python:dynamic/"


def hash_of(number: int) -> str:
    return f"{number}" * 64


@pytest.fixture
def versions(
    stack: dict[str, Any],
    client: Client,
    bucket: Bucket,
    data_bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[str]]:
    """Versions 1 to 6, each with code of its own; 2 serves. What the test puts is three days old.

    Yields:
        The digests of their code.
    """
    place = tmp_path / "sources"
    place.mkdir()
    codes = []
    for number in range(1, 7):
        codes.append(put_folder(client, data_bucket.name, {"n": b"%d" % number}, place))
        publish(client, bucket, number, {"code": codes[-1]}, hash_of(number))
    stack[REPLICAS] = {"items": []}
    stack[JOBS] = {"items": []}

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=3)

    monkeypatch.setattr(pruning, "datetime", Later)
    yield codes
    for one in (bucket, data_bucket):
        url = S3Url(one.name)
        delete_many(client, one.name, [entry.path for entry in list_objects(client, url)])


@pytest.fixture
def there(client: Client, bucket: Bucket, data_bucket: Bucket) -> Callable[[], set[str]]:
    return lambda: {
        entry.path
        for one in (bucket, data_bucket)
        for entry in list_objects(client, S3Url(one.name))
    }


def numbers(run: Run, keep: int = 1, *words: str) -> list[int]:
    """Return which versions would stay."""
    code, output, _ = run("prune", "--keep", str(keep), "--json", *words)
    assert code == 0
    found: list[int] = json.loads(output)["stays"]["mnist"]
    return found


def test_it_tells_first_and_deletes_when_it_is_told_to(
    run: Run, versions: list[str], there: Callable[[], set[str]]
) -> None:
    before = there()
    code, output, errors = run("prune", "--keep", "3")
    assert code == 0 and there() == before
    rows = [line.split() for line in output.splitlines()]
    assert rows[1][:2] == ["version", "mnist"] and rows[1][2] == "3"
    # Symptom: nobody saw that the best model would go.
    assert rows[1][-2:] == ["loss", "0.5"]
    stay = [row[1:] for row in rows if row[2:3] == ["stays"]]
    assert [row[0] for row in stay] == ["6", "5", "4", "2"]
    assert all(row[-2:] == ["loss", "0.5"] for row in stay)
    assert " ".join(stay[3]).startswith("2 stays it serves, or is configured to, ")
    assert any(row[:2] == ["can", "go"] for row in rows)
    assert "Nothing is deleted yet: python -m infra prune --keep 3 --yes" in errors
    code, output, errors = run("prune", "--keep", "3", "--yes")
    assert (code, errors) == (0, "") and "deleted" in output
    left = there()
    assert left < before
    assert {int(key.split("/")[2]) for key in left if key.startswith("models/")} == {6, 5, 4, 2}
    assert {key for key in left if key.startswith("folders/")} == {
        f"folders/{versions[number - 1]}" for number in (6, 5, 4, 2)
    }
    code, output, errors = run("prune", "--keep", "3", "--yes")
    assert (code, errors) == (0, "") and output.startswith("nothing can go")


def test_what_serves_or_is_about_to_stays(
    run: Run, versions: list[str], stack: dict[str, Any]
) -> None:
    assert numbers(run) == [6, 2]
    # A roll-out is under way: to 3, from 4, of which a pod still answers, and 1 is scaled up.
    stack[APPS] = {"items": [deployment("prediction", 3)]}
    stack[f"{PLACE}/pods"] = {"items": [prediction_pod(4, True)]}
    stack[REPLICAS] = {
        "items": [
            {
                "metadata": {"name": str(n)},
                "spec": {"replicas": n % 2, "template": {"spec": serving(n)}},
            }
            for n in (1, 2)
        ]
    }
    assert numbers(run) == [6, 4, 3, 1]
    # What the last whole roll-out was of, where the present one fails.
    stack[f"{PLACE}/configmaps/served"] = {"data": {"model": "mnist", "version": "5"}}
    assert numbers(run) == [6, 5, 4, 3, 1]


def test_a_pod_that_ends_needs_nothing(
    run: Run, versions: list[str], stack: dict[str, Any]
) -> None:
    """Symptom: `keepVersions` 1 kept two: the replaced version's pod still ended."""
    ending = prediction_pod(4, True)
    ending["metadata"]["deletionTimestamp"] = "2026-03-01T10:01:05Z"
    stack[f"{PLACE}/pods"]["items"].append(ending)
    assert numbers(run) == [6, 2]


def test_the_jobs_that_an_up_is_about_to_delete_need_nothing(
    run: Run, versions: list[str], stack: dict[str, Any]
) -> None:
    """Of `keepVersions`, whose turn is before Pulumi deletes the Job of the former run."""
    runs, done = job(run=hash_of(3)), job(run=hash_of(3), conditions=(ended("Complete"),))
    for one in (runs, done):
        one["spec"]["template"]["spec"] = {}
    stack[JOBS] = {"items": [done]}
    chosen = deployed.find(deployed.selected(None))
    asked = pruning.needed(chosen.cluster, chosen.namespace)
    assert asked.runs == {short(hash_of(3))}
    assert not pruning.needed(chosen.cluster, chosen.namespace, ended=False).runs
    stack[JOBS] = {"items": [runs]}
    assert pruning.needed(chosen.cluster, chosen.namespace, ended=False).runs == asked.runs


def test_what_the_configuration_names_stays(
    run: Run, versions: list[str], stack: dict[str, Any]
) -> None:
    told = stack[f"{PLACE}/configmaps/stack"]["data"]
    told["pinnedVersion"] = "1"
    assert numbers(run) == [6, 2, 1]
    told["pinnedVersion"] = ""


def test_what_the_state_names_stays(
    run: Run, versions: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `deploy` false it may be older than what is published since, and serves nowhere."""
    code = versions[2]
    resources = [
        {
            "type": f"{STATE}models:PublishedModel",
            "outputs": {"model_name": "mnist", "version": 4.0},
        },
        {"type": f"{STATE}models:ImportedModel", "outputs": {"model_name": "mnist", "version": 3}},
        {"type": f"{STATE}s3:Folder", "outputs": {"digest": code}},
        {"type": f"{STATE}s3:Folder", "outputs": {"digest": ""}},
        {"type": f"{STATE}s3:Folder", "outputs": {"files": []}},
        {"type": "pulumi:pulumi:Stack"},
    ]
    state = json.dumps({"deployment": {"resources": resources}})
    (tmp_path / "state.json").write_text(state)
    program(
        tmp_path / "bin",
        f'[ "$2" = --show-name ] && echo dev || {{ [ $2 = export ] && cat {tmp_path}/state.json '
        "|| echo {}; }",
    )
    chosen = deployed.selected(None)
    assert chosen.folders == {code}
    assert numbers(run) == [6, 4, 3, 2]


def test_what_a_job_has_to_do_with_stays(
    run: Run, versions: list[str], stack: dict[str, Any], bucket: Bucket
) -> None:
    """Its run, what that published, and the code that its pods fetch when they start again."""
    one = job(run=hash_of(3))
    one["spec"]["template"]["spec"] = {
        "containers": [
            {"name": "training", "command": ["python3", f"--code_url=s3://b/folders/{versions[0]}"]}
        ]
    }
    bucket.put(f"runs/{short(hash_of(3))}/checkpoints/one", "x")
    stack[JOBS] = {"items": [one]}
    code, output, _ = run("prune", "--keep", "1", "--json")
    told = json.loads(output)
    assert code == 0 and told["stays"]["mnist"] == [6, 3, 2]
    assert short(hash_of(3)) not in {one["name"] for one in told["runs"]}
    assert {one["name"] for one in told["folders"]} == {versions[n][:12] for n in (3, 4)}


def test_a_bucket_of_another_stack_is_left_alone(
    run: Run,
    versions: list[str],
    stack: dict[str, Any],
    client: Client,
    data_bucket: Bucket,
    there: Callable[[], set[str]],
) -> None:
    stack[f"{PLACE}/configmaps/stack"]["data"]["storeInStack"] = "false"
    bucket_marks.put(client, data_bucket.name, stack_id="other", stack="dlstack-other")
    before = there()
    for words in ((), ("--yes",)):
        code, output, errors = run("prune", "--keep", "1", *words)
        assert (code, output) == (1, "")
        assert "belongs to the stack 'dlstack-other' (id other" in errors
        assert "nothing of it is deleted" in errors and "Traceback" not in errors
    assert there() == before


def test_of_a_bucket_that_was_given_only_what_the_stack_has_put_there_goes(
    run: Run,
    versions: list[str],
    stack: dict[str, Any],
    client: Client,
    bucket: Bucket,
    data_bucket: Bucket,
    tmp_path: Path,
) -> None:
    resources = [
        {"type": f"{STATE}s3:Bucket", "outputs": {"bucket": one.name, "given": True}}
        for one in (bucket, data_bucket)
    ] + [{"type": f"{STATE}s3:Bucket", "outputs": {"bucket": "its-own"}}]
    (tmp_path / "state.json").write_text(json.dumps({"deployment": {"resources": resources}}))
    program(
        tmp_path / "bin",
        f'[ "$2" = --show-name ] && echo dev || {{ [ $2 = export ] && cat {tmp_path}/state.json '
        "|| echo {}; }",
    )
    assert deployed.selected(None).given == {bucket.name, data_bucket.name}
    code, _, errors = run("prune", "--keep", "1")
    assert code == 1 and "does not bear its mark '.dlstack.json'" in errors
    for one in (bucket, data_bucket):
        bucket_marks.put(client, one.name, stack_id="", stack="dlstack-dev")
    code, output, _ = run("prune", "--keep", "1", "--json")
    told = json.loads(output)
    # None was claimed, as dlstack does: they are somebody else's.
    assert code == 0 and told["versions"] == [] and told["stays"]["mnist"] == [6, 5, 4, 3, 2, 1]
    assert told["reasons"]["mnist"] == {
        "6": "it is the newest",
        **dict.fromkeys(("5", "4", "3", "1"), "dlstack did not publish it"),
        "2": "it serves, or is configured to",
    }


def test_what_was_cut_short_is_told(
    run: Run, versions: list[str], client: Client, data_bucket: Bucket
) -> None:
    place = {"Bucket": data_bucket.name, "Key": f"blobs/{'a' * 64}"}
    upload = client.s3.create_multipart_upload(**place)["UploadId"]
    client.s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=bytes(5 * 2**20))
    code, output, _ = run("prune", "--keep", "9")
    rows = [line.split() for line in output.splitlines()]
    assert code == 0
    assert ["unfinished", "5.2", "MB", "of", "uploads", "that", "were", "cut", "short"] in rows
    assert ["can", "go", "0", "5.2", "MB"] in rows
    code, output, _ = run("prune", "--keep", "9", "--yes", "--json")
    assert json.loads(output)["uploads"] == {"objects": 1, "bytes": 5 * 2**20}
    assert not client.s3.list_multipart_uploads(Bucket=data_bucket.name).get("Uploads")


def test_whoever_else_prunes_is_told(
    run: Run, versions: list[str], client: Client, data_bucket: Bucket
) -> None:
    with prune_mark.held(client, data_bucket.name):
        code, _, errors = run("prune", "--keep", "1", "--yes")
    assert code == 1 and "Somebody else deletes what nothing needs" in errors


def test_of_one_model(run: Run, versions: list[str], bucket: Bucket) -> None:
    assert numbers(run, 2, "--model", "mnist") == [6, 5, 2]
    code, _, errors = run("prune", "--keep", "2", "--model", "other")
    assert code == 1
    assert "--model 'other' has no version. Models that have some: mnist." in errors
    bucket.put("models/another/1/manifest.json", '{"files": []}')
    told = json.loads(run("prune", "--keep", "9", "--model", "mnist", "--json")[1])
    assert told["reasons"]["mnist"]["6"] == "it is one of the newest 9"
    assert told["reasons"]["another"] == {"1": "--model names another model"}


@pytest.mark.parametrize("words", [(), ("--keep", "0"), ("--keep", "-1"), ("--keep", "all")])
def test_how_many_stay_has_to_be_said(run: Run, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("prune", *words)
    assert ended.value.code == 2


def test_a_bucket_that_keeps_versions_is_told(
    run: Run, versions: list[str], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.contents.is_versioned", lambda _, name: name == bucket.name)
    code, output, _ = run("prune", "--keep", "1")
    assert code == 0
    assert f"'{bucket.name}' keeps versions of its objects: what is deleted takes room" in output

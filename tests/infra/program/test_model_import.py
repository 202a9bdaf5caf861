"""`dlstack:model`: which model a stack is to copy and serve, looked for in a real store."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.cluster import description
from store.objects import delete, write
from store.urls import S3Url
from tests.infra.conftest import STACK, Engine, Up
from tests.infra.program.conftest import PLACE, Deployed
from tests.infra.program.test_plan import jobs_of
from tests.infra.program.test_program import DEPLOYMENT, EXTERNAL, MODEL, containers
from tests.seaweedfs import REGION
from tests.store.test_model_sources import FILES, put_plain
from tests.store.test_models import put_version

IMPORTED = "pulumi-python:dynamic/models:ImportedModel"
FOLDER = "pulumi-python:dynamic/s3:Folder"
NAMESPACES = "/api/v1/namespaces?labelSelector=dlstack.dev/stack"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lines.append)
    monkeypatch.setattr(pulumi.log, "warn", lines.append)
    return lines


@pytest.fixture
def houses(deployed: Deployed) -> S3Url:
    """A model of another stack, whose bucket is this folder of ours."""
    url = S3Url(deployed.model.bucket, "models/houses")
    for number, accuracy in ((4, 0.8), (5, 0.97)):
        files = FILES | {"variables/weights": str(number).encode()}
        put_version(deployed.client, url, number, "d" * 64, files, {"accuracy": accuracy})
    return url


@pytest.fixture
def other_stack(deployed: Deployed, houses: S3Url) -> dict[str, Any]:
    """What the stack `prod` of the project says of itself, in a namespace of another name."""
    told = deployed.cluster.answers[f"{PLACE}/configmaps/stack"]["data"]
    data = description.write(
        stack_id="other",
        stack="dlstack-prod",
        host="203.0.113.1",
        output_bucket=houses.bucket,
        model_name="houses",
        store_endpoint=told["storeEndpoint"],
        store_region=REGION,
        store_in_stack=True,
        store_secret="object-store",
        pinned_version=None,
    )
    answers = deployed.cluster.answers
    answers["/api/v1/namespaces/shop/configmaps/stack"] = {"data": data}
    answers["/api/v1/namespaces/shop/secrets/object-store"] = answers[
        f"{PLACE}/secrets/object-store"
    ]
    labels = {"dlstack.dev/stack": "dlstack-prod"}
    answers[NAMESPACES] = {"items": [{"metadata": {"name": "shop", "labels": labels}}]}
    return data


@pytest.fixture
def imported(up: Up, engine: Engine) -> Any:
    def run(model: str, **values: str | None) -> dict[str, Any]:
        up(model=model, **values)
        return engine.the(IMPORTED, "imported-model")

    return run


class TestWhatIsServed:
    def test_is_copied_and_nothing_is_trained_nor_needed_for_that(
        self, imported: Any, engine: Engine, houses: S3Url, told: list[str]
    ) -> None:
        found = imported(f"{houses}/5", dataDir=None, codeDir="gone", bootFile="gone.py")
        assert (found["source_url"], found["seen"]) == (f"{houses}/5", 0)
        assert jobs_of(engine) == [] and engine.created(MODEL) == []
        assert [one.name for one in engine.created(FOLDER)] == ["code"]
        assert told == [
            f"The model at '{houses}/5' (accuracy 0.97) becomes a version of the model 'mnist', "
            "and is served. Nothing is trained."
        ]
        pod = containers(engine.the(DEPLOYMENT, "prediction-server"))
        # Nobody has asked it anything yet.
        assert list(pod)[:2] == ["sync", "check"]
        assert "python3 -m serving.check" in pod["check"]["command"][2]
        assert pod["check"]["command"][4:] == ["/models/mnist/3", "--engine=embedded"]

    def test_is_the_newest_of_a_model(self, imported: Any, houses: S3Url) -> None:
        assert imported(str(houses))["source_url"] == f"{houses}/5"

    def test_is_of_another_stack_in_its_own_store(
        self, imported: Any, other_stack: dict[str, Any], told: list[str]
    ) -> None:
        for name in ("prod", "dlstack-prod", "prod/5"):
            found = imported(f"stack:{name}")
            assert found["source_url"].endswith("/models/houses/5")
            assert found["source_store"]["namespace"] == "shop"
        assert told[0].startswith(
            "Version 5 of the model 'houses' of the stack 'dlstack-prod' (accuracy 0.97) becomes"
        )
        assert imported("stack:prod/4")["source_url"].endswith("/models/houses/4")
        other_stack["pinnedVersion"] = "4"
        assert imported("stack:prod")["source_url"].endswith("/models/houses/4")

    def test_may_be_a_folder_of_this_machine(
        self,
        imported: Any,
        deployed: Deployed,
        project: Path,
    ) -> None:
        for path, content in FILES.items():
            (project / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
            (project / "mine" / path).write_bytes(content)
        found = imported("mine")
        assert (found["source_url"], found.get("source_store")) == ("mine", None)

    def test_is_the_copy_that_there_is(
        self,
        imported: Any,
        deployed: Deployed,
        houses: S3Url,
        told: list[str],
    ) -> None:
        files = FILES | {"variables/weights": b"5"}
        put_version(deployed.client, deployed.model, 7, "d" * 64, files)
        assert imported(f"{houses}/5")["seen"] == 7
        assert " is version 7 of the model 'mnist'" in told[0]
        write(deployed.client, deployed.model / "7/saved_model.pb", b"")
        assert imported(f"{houses}/5")["seen"] == 0

    def test_goes_on_to_be_when_its_source_is_gone(
        self,
        imported: Any,
        deployed: Deployed,
        told: list[str],
    ) -> None:
        given = f"s3://{deployed.model.bucket}/gone"
        origin = {"given": given, "place": f"{given}/3", "identity": "e" * 64}
        put_version(deployed.client, deployed.model, 7, "d" * 64, FILES, origin=origin)
        found = imported(given)
        assert (found["identity"], found["seen"]) == ("e" * 64, 7)
        (line,) = told
        assert f"There is nothing at '{given}'." in line
        assert line.endswith("Version 7, the copy of it, goes on serving.")
        # One that was copied from elsewhere is no copy of this.
        with pytest.raises(pulumi.RunError, match="There is nothing at"):
            imported(f"{given}-too")

    def test_goes_on_to_be_by_whatever_name_its_source_had_last(
        self, imported: Any, deployed: Deployed, told: list[str]
    ) -> None:
        """Symptom: copied as `stack:shop-dev/1`, then named `stack:dev/1`, then dev was gone."""
        origin = {"given": "stack:shop-dev/1", "place": "s3://x/1", "identity": "e" * 64}
        put_version(deployed.client, deployed.model, 7, "d" * 64, FILES, origin=origin)
        data = deployed.cluster.answers[f"{PLACE}/configmaps/stack"]["data"]
        data |= {"model": "stack:other/1", "modelIdentity": "e" * 64}
        deployed.cluster.answers[NAMESPACES] = {"items": []}
        found = imported("stack:other/1")
        assert (found["identity"], found["seen"]) == ("e" * 64, 7)
        with pytest.raises(
            pulumi.RunError, match="^dlstack:model 'stack:another/1': no stack 'ano"
        ):
            imported("stack:another/1")

    def test_may_wait_for_a_word(
        self, up: Up, engine: Engine, houses: S3Url, told: list[str]
    ) -> None:
        outputs = up(model=str(houses), deploy="false")
        assert engine.created(IMPORTED)
        assert not [one for one in engine.created(DEPLOYMENT) if "prediction" in one.name]
        assert "published, not served (dlstack:deploy is false)" in told[0]
        assert outputs["published"]["model"] == "mnist"


class TestIsRefused:
    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ("s3://BUCKET/nothing", "There is nothing at 's3://.*/nothing'"),
            ("s3://no-such-bucket-anywhere/x", "the bucket is not there. Correct the URL"),
            ("s3://BUCKET/models/houses/9", "There is nothing at"),
            ("s3://BUCKET/text", "has no SavedModel: neither 'saved_model.pb' nor .* 'a.txt'"),
            ("stack:prod/9", "'dlstack-prod' has no version 9 that is intact. There are: 5, 4"),
            ("stack:staging", "no stack 'staging' is deployed in this cluster. Deployed here: dl"),
            ("stack:dev", "is this stack itself. .* set dlstack:modelVersion"),
            ("gone", "dlstack:model 'gone': 'gone' is not a folder|'gone' is not a folder"),
        ],
    )
    def test_what_is_not_there_or_no_model(
        self,
        up: Up,
        deployed: Deployed,
        other_stack: dict[str, Any],
        given: str,
        problem: str,
    ) -> None:
        bucket = deployed.model.bucket
        write(deployed.client, S3Url(bucket, "text/a.txt"), b"x")
        with pytest.raises(pulumi.RunError, match=problem):
            up(model=given.replace("BUCKET", bucket))

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ("stack:", "does not name a model of another stack"),
            ("stack:a/latest", "does not name a model of another stack"),
            ("s3://", "is not the URL of a model"),
            ("gs://bucket/model", "is no place that dlstack knows"),
        ],
    )
    def test_what_names_nothing(self, up: Up, given: str, problem: str) -> None:
        with pytest.raises(pulumi.RunError, match=problem):
            up(model=given)

    def test_a_version_beside_it(self, up: Up) -> None:
        with pytest.raises(pulumi.RunError, match="dlstack:model names a model to copy"):
            up(model="stack:prod", modelVersion="3")

    def test_a_url_where_no_store_is_yet(self, up: Up) -> None:
        with pytest.raises(pulumi.RunError, match="the stack's own holds nothing yet"):
            up(model="s3://bucket/model")

    def test_a_model_that_misses_a_bar(
        self,
        up: Up,
        deployed: Deployed,
        houses: S3Url,
    ) -> None:
        up(model=str(houses), minAccuracy="0.97", minMetrics='{"accuracy": 0.9}')
        problem = r"is refused: accuracy 0.97 \(dlstack:minAccuracy 0.98\)\. What serves now stays"
        with pytest.raises(pulumi.RunError, match=problem):
            up(model=str(houses), minAccuracy="0.98")
        put_plain(deployed.client, S3Url(houses.bucket, "own"))
        with pytest.raises(pulumi.RunError, match=r"no 'loss' among its metrics \(dlstack:maxMetr"):
            up(model=f"s3://{houses.bucket}/own", maxMetrics='{"loss": 1}')

    @pytest.mark.parametrize(
        ("served", "is_refused"),
        [(("mnist", "1"), True), (("houses", "4"), False), (None, False), (("mnist", "9"), False)],
    )
    def test_a_model_that_is_worse_than_what_serves(
        self,
        up: Up,
        deployed: Deployed,
        houses: S3Url,
        served: tuple[str, str] | None,
        is_refused: bool,
    ) -> None:
        """Version 1 of this stack's own model has accuracy 0.9, this one 0.8."""
        if served is not None:
            data = dict(zip(("model", "version"), served, strict=True))
            deployed.cluster.answers[f"{PLACE}/configmaps/served"] = {"data": data}
        up(model=f"{houses}/4", maxRegression='{"accuracy": 0.1, "loss": 0}')
        if not is_refused:
            up(model=f"{houses}/4", maxRegression='{"accuracy": 0.05}')
            return
        problem = r"accuracy 0.8, beside 0.9 of what serves \(dlstack:maxRegression.accuracy 0.05\)"
        with pytest.raises(pulumi.RunError, match=problem):
            up(model=f"{houses}/4", maxRegression='{"accuracy": 0.05}')


def test_the_output_is_what_the_key_takes(up: Up, deployed: Deployed) -> None:
    assert up()["modelUrl"] == f"stack:{STACK}/3"
    delete(deployed.client, deployed.model / "1/manifest.json")
    deployed.jobs()
    assert up(**EXTERNAL)["modelUrl"] == f"s3://{STACK}-output/models/mnist/3"

"""The examples, by the configuration on their pages alone: other data, other code, other models."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import Deployment, configuration_kept
from tests.examples.pages import EXAMPLES, NAMES, configuration, generate
from tests.training.agent.test_packages import Index

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def like_new(deployment: Deployment) -> Iterator[None]:
    """Bars and parameters of one example are not for the next."""
    with configuration_kept(deployment):
        yield


@pytest.fixture
def packages(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Configuration with which pods find what an example's `requirements.txt` names."""
    needed = EXAMPLES / name / "requirements.txt"
    if not needed.exists():
        return {}
    index: Index = request.getfixturevalue("index")
    words = ("pip", "download", "--quiet", f"--requirement={needed}", f"--dest={tmp_path}")
    subprocess.run([sys.executable, "-m", *words], check=True)
    for file in tmp_path.glob("*.whl"):
        index.add((file.name, file.read_bytes()))
    host = index.url.split("/")[2].partition(":")[0]
    return {"env.PIP_INDEX_URL": index.url, "env.PIP_TRUSTED_HOST": host}


def named(answers: list[dict]) -> list[str]:
    return [answer.get("label") or answer["prediction"] for answer in answers]


def right(answers: list[str], expected: list[str]) -> float:
    return sum(one == other for one, other in zip(answers, expected, strict=True)) / len(expected)


def pictures(deployment: Deployment, data: Path) -> None:
    files = sorted(data.glob("*/*-00[12].*"))
    answers = named(deployment.predict(*files))
    assert right(answers, [file.parent.name for file in files]) > 0.7


def transfer(deployment: Deployment, data: Path) -> None:
    files = sorted((data / "test").glob("*/00*"))
    answers = named(deployment.predict(*files))
    assert right(answers, [file.parent.name for file in files]) > 0.7
    metrics = deployment.outputs()["metrics"]
    assert metrics["accuracy"] > metrics["accuracy_from_scratch"] + 0.2


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def tabular(deployment: Deployment, data: Path) -> None:
    houses = rows(data / "houses.csv")
    answers = deployment.predict(data / "houses.csv")
    off = [
        abs(answer["prediction"] / float(house["price"]) - 1)
        for house, answer in zip(houses, answers, strict=True)
        if house["year"]
    ]
    assert sum(off) / len(off) < 0.1


def text(deployment: Deployment, data: Path) -> None:
    lines = (data / "test.jsonl").read_text().splitlines()
    held_out = [json.loads(line) for line in lines[::50]]
    words = [word for row in held_out for word in ("--text", row["text"])]
    assert right(named(deployment.predict(*words)), [row["label"] for row in held_out]) > 0.8


def tf1(deployment: Deployment, data: Path) -> None:
    answers = named(deployment.predict(data / "test.csv"))
    assert right(answers, [row["left"] for row in rows(data / "test.csv")]) > 0.85


ASK: dict[str, Callable[[Deployment, Path], None]] = {
    "pictures": pictures,
    "tabular": tabular,
    "text": text,
    "tf1": tf1,
    "transfer": transfer,
}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_trains_serves_and_answers(
    deployment: Deployment, packages: dict[str, str], tmp_path: Path, name: str
) -> None:
    generate(name, tmp_path / "data")
    configured = configuration(name) | {"dataDir": str(tmp_path / "data")} | packages
    deployment.configure(*(f"{key}={value}" for key, value in configured.items()))
    assert deployment.up().returncode == 0
    assert deployment.outputs()["modelName"] == configured["modelName"]
    ASK[name](deployment, tmp_path / "data")

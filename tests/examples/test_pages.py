"""What the examples' pages say to type, and the data that they make."""

import json

import pytest

from infra.settings import configuration as keys
from tests.examples.pages import EXAMPLES, NAMES, commands, configuration, generate
from tests.serving_fixtures import ROOT


def test_there_are_examples() -> None:
    assert {"pictures", "tabular", "text", "tf1", "transfer"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_configures_a_model_of_its_own(name: str) -> None:
    """Names and parameters of the model before it would stay."""
    configured = configuration(name)
    assert {key.partition(".")[0] for key in configured} <= {*keys.KEYS}
    assert configured["codeDir"] == f"examples/{name}"
    assert configured["bootFile"] == "train.py"
    assert configured["dataDir"].startswith("data/")
    assert configured["modelName"] not in ("mnist", "")
    lines = commands(name)
    script = f"python examples/{name}/generate_data.py --target_dir={configured['dataDir']}"
    assert lines[0] == script
    assert lines.index("pulumi config rm dlstack:runParameters") < lines.index("pulumi up")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_for_people_trains_nothing_anew(name: str) -> None:
    ignored = (EXAMPLES / name / ".dlstackignore").read_text().split()
    assert {"/README.md", "/generate_data.py"} <= set(ignored)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_all_leads_to_each(name: str) -> None:
    assert f"(../examples/{name}/README.md)" in (ROOT / "docs" / "examples.md").read_text()


@pytest.mark.parametrize("name", sorted({*NAMES} - {"transfer"}))
def test_data_depends_on_the_seed_alone(name: str, tmp_path) -> None:
    """Another data set would be another run."""
    for folder in ("one", "two"):
        generate(name, tmp_path / folder)
    one, two = (
        {
            path.relative_to(tmp_path / folder): path.read_bytes()
            for path in files(tmp_path / folder)
        }
        for folder in ("one", "two")
    )
    assert one == two


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_messages_to_test_with_are_of_patterns_that_are_not_trained_on(tmp_path) -> None:
    generate("text", tmp_path, "--train=300", "--test=100")
    train, test = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("train.jsonl", "test.jsonl")
    )
    assert (len(train), len(test)) == (1200, 400)
    assert any("was charged twice" in row["text"] for row in train)
    assert not any("please correct the price" in row["text"] for row in train)
    assert any("please correct the price" in row["text"].lower() for row in test)

"""What GitHub runs: the targets, files and documented names in it. GitHub itself is not asked."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_it_asks_make_for_targets_that_there_are(workflow: Path) -> None:
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        for step in job.get("steps", ()):
            for words in re.findall(r"\bmake ([a-z -]+)$", step.get("run", ""), re.MULTILINE):
                assert set(words.split()) <= TARGETS
        if local := job.get("uses"):
            assert (ROOT / local).is_file()


def test_each_secret_and_variable_is_documented() -> None:
    page = (ROOT / "docs/operations.md").read_text().partition("## Previews of pull requests")[2]
    page = page.partition("\n## ")[0]
    used = {
        name
        for workflow in WORKFLOWS
        for name in re.findall(r"\b(?:secrets|vars)\.(\w+)", workflow.read_text())
    }
    assert used == set(re.findall(r"`([A-Z_]+)`", page))


def test_a_release_checks_the_tag_and_is_tested_first() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert jobs["release"]["needs"] == "test"
    assert '"v$(cat VERSION)"' in text and "make release" in text

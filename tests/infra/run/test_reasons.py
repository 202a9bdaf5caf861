"""Which part of the run hash changed, in words."""

from pathlib import Path
from typing import Any

import pytest

from infra.run import reasons
from infra.run.planned import PlannedRun
from infra.settings import configuration
from tests.infra.conftest import Configure


@pytest.fixture
def published(configure: Configure, project: Path) -> dict[str, Any]:
    """The manifest of the version that the project's present state has made."""
    configure(runParameters='{"epochs": 3}')
    run = PlannedRun.of(configuration.load())
    return {
        "provenance": dict(run.provenance),
        "parameters": {"epochs": "3"},
        "sources": run.sources,
    }


def why(configure: Configure, manifest: dict[str, Any], **values: str) -> list[str]:
    configure(**{"runParameters": '{"epochs": 3}', **values})
    settings = configuration.load()
    return reasons.of(
        PlannedRun.of(settings),
        manifest,
        parameters=settings.run_parameters,
        code_dir=str(settings.code_dir),
        data_dir=settings.data_dir,
        own_image=settings.image != settings.runtime_image,
    )


def test_without_a_change_there_is_no_reason(
    configure: Configure, published: dict[str, Any]
) -> None:
    assert why(configure, published) == []


def test_changed_files_are_named(
    configure: Configure, published: dict[str, Any], project: Path
) -> None:
    (project / "code/train.py").write_text("print('otherwise')\n")
    (project / "code/model.py").touch()
    (project / "data/images.gz").rename(project / "data/pictures.gz")
    assert why(configure, published) == [
        "the code in code changed: model.py (new), train.py",
        "the data in data changed: images.gz (gone), pictures.gz (new)",
    ]
    for number in range(9):
        (project / f"code/{number}.py").touch()
    assert why(configure, published)[0].endswith(
        ": 0.py (new), 1.py (new), 2.py (new), 8 more files"
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("runParameters", '{"epochs": 4}', ["dlstack:runParameters.epochs: 3 -> 4"]),
        (
            "runParameters",
            '{"batch_size": 64}',
            [
                "dlstack:runParameters.batch_size: (not set) -> 64",
                "dlstack:runParameters.epochs: 3 -> (not set)",
            ],
        ),
        ("image", "i:2", ["dlstack:image: registry.example/dlstack:1 -> i:2"]),
        ("runtimeImage", "i:2", ["dlstack:runtimeImage: registry.example/dlstack:1 -> i:2"]),
        ("nodeCount", "2", ["dlstack:nodeCount: 1 -> 2"]),
        ("env", '{"LEVEL": "debug"}', ["dlstack:env.LEVEL: (not set) -> debug"]),
        # None of them makes another model.
        ("flavour", "cpu-2", []),
        ("timeout", "2h", []),
        ("graceSeconds", "60", []),
    ],
)
def test_a_changed_key_is_told_with_both_values(
    configure: Configure, published: dict[str, Any], key: str, value: str, expected: list[str]
) -> None:
    assert why(configure, published, **{key: value}) == expected


def test_another_boot_file_is_told(
    configure: Configure, published: dict[str, Any], project: Path
) -> None:
    (project / "code/other.py").touch()
    found = why(configure, published, bootFile="other.py")
    assert "dlstack:bootFile: train.py -> other.py" in found


def test_the_library_counts_where_the_code_uses_it_and_the_agent_nowhere(
    configure: Configure, project: Path
) -> None:
    (project / "code/train.py").write_text("import training\n")
    run = PlannedRun.of(configuration.load())
    manifest = {"provenance": dict(run.provenance), "sources": run.sources}
    (project / "training/agent/run.py").write_text("# mended\n")
    assert why(configure, manifest, runParameters="{}") == []
    assert PlannedRun.of(configuration.load()).hash == run.hash
    (project / "training/__init__.py").write_text("# mended\n")
    assert why(configure, manifest, runParameters="{}") == [
        "dlstack's training library changed: __init__.py"
    ]


def test_a_manifest_of_an_earlier_dlstack_gives_shorter_reasons(
    configure: Configure, published: dict[str, Any], project: Path
) -> None:
    earlier = {
        "parameters": published["parameters"],
        "provenance": {
            key: value
            for key, value in published["provenance"].items()
            if key not in ("run_hash_version", "library_sha256")
        },
    }
    (project / "code/train.py").write_text("print('otherwise')\n")
    assert why(configure, earlier) == [
        "the code in code changed",
        "this version of dlstack trains in another way (docs/upgrading.md)",
    ]


def test_the_names_of_very_many_files_are_left_out(
    configure: Configure, published: dict[str, Any], project: Path
) -> None:
    """They would not have room in a Job's command line."""
    for number in range(1000):
        (project / f"data/picture-{number:04}.png").touch()
    assert why(configure, published) == ["the data in data changed"]

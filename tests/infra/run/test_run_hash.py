"""The run hash: what counts as another run."""

from typing import Any

import pytest

from infra.run.run_hash import run_hash

RUN = {
    "code": {"train.py": "1"},
    "library": {"agent.py": "2"},
    "data": {"images.gz": "3"},
    "boot_file": "train.py",
    "run_parameters": {"epochs": "3"},
    "image": "image:1",
    "node_count": 1,
}


def test_it_does_not_depend_on_the_order_of_keys() -> None:
    one = run_hash(**RUN | {"run_parameters": {"a": "1", "b": "2"}})
    assert one == run_hash(**RUN | {"run_parameters": {"b": "2", "a": "1"}})
    assert len(one) == 64


@pytest.mark.parametrize("key", RUN)
def test_it_covers_all_that_decides_what_comes_out(key: str) -> None:
    other: Any = 2 if key == "node_count" else {"x": "y"}
    assert run_hash(**RUN | {key: other}) != run_hash(**RUN)


def test_it_tells_code_from_data() -> None:
    """The same file in the one or the other is another run."""
    moved = RUN | {"code": {"f": "1"}, "data": {}}
    assert run_hash(**moved) != run_hash(**RUN | {"code": {}, "data": {"f": "1"}})

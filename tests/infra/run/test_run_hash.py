"""The run hash: what counts as another run."""

from typing import Any

import pytest

from infra.run.run_hash import image_of_training, run_hash

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


def test_variables_count_with_their_values_and_secret_ones_by_their_names() -> None:
    plain = run_hash(**RUN)
    assert run_hash(**RUN, env={}, secret_env=[]) == plain
    hashes = {
        run_hash(**RUN, env={"A": "1"}),
        run_hash(**RUN, env={"A": "2"}),
        run_hash(**RUN, secret_env=["A"]),
        run_hash(**RUN, secret_env=["B"]),
    }
    assert len(hashes | {plain}) == 5


def test_it_tells_code_from_data() -> None:
    """The same file in the one or the other is another run."""
    moved = RUN | {"code": {"f": "1"}, "data": {}}
    assert run_hash(**moved) != run_hash(**RUN | {"code": {}, "data": {"f": "1"}})


@pytest.mark.parametrize(
    ("image", "counts"),
    [
        ("localhost/dlstack/runtime:0a1b2c.frontend-3d4e5f", "localhost/dlstack/runtime:0a1b2c"),
        ("registry.example:5000/dlstack:1", "registry.example:5000/dlstack:1"),
        ("registry.example/app.frontend-1:2", "registry.example/app.frontend-1:2"),
    ],
)
def test_the_front_end_in_an_image_is_left_out(image: str, counts: str) -> None:
    """Symptom: a change of the front end, which only serves, trained every stack anew."""
    assert image_of_training(image) == counts

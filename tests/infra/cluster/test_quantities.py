"""Numbers as Kubernetes writes them."""

import pytest

from infra.cluster.quantities import quantity


@pytest.mark.parametrize(
    ("text", "number"), [("2", 2), ("1930m", 1.93), ("8Gi", 8 * 1024**3), ("1k", 1000)]
)
def test_quantities(text: str, number: float) -> None:
    assert quantity(text) == number

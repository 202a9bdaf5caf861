"""How large outputs will be, known before they are there."""

from __future__ import annotations

from serving.models.output_sizes import OutputSizes


def test_outputs_are_expected_as_large_as_the_inputs_or_as_any_of_smaller_inputs() -> None:
    sizes = OutputSizes()
    assert sizes.expected(1000) == 1000
    sizes.learn(1000, 50_000)
    sizes.learn(1000, 10)
    assert sizes.expected(1000) == 50_000
    assert sizes.expected(10_000) == 50_000
    assert sizes.expected(1_000_000) == 1_000_000
    assert sizes.expected(10) == 10

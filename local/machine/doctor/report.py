"""Findings as a table for a person and as JSON for a program."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from .finding import OK, PROBLEM, WARNING, Finding

_MARKS = {OK: "✓", WARNING: "!", PROBLEM: "✗"}


def table(findings: Sequence[Finding], width: int) -> str:
    """One line for each finding, and below it the cure of what is not ok.

    Args:
        width: columns of the terminal.
    """
    name = max(len(finding.name) for finding in findings)
    before = " " * (name + 4)
    lines = []
    for finding in findings:
        first = f"{_MARKS[finding.state]} {finding.name:<{name}}  "
        lines += _wrapped(finding.found, width, first, before)
        if finding.cure:
            lines += _wrapped(finding.cure, width, before, before)
    return "\n".join([*lines, "", _summary(findings)])


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        # Commands and paths stay whole, to be copied.
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_json(findings: Sequence[Finding]) -> str:
    """An object with `ready` and the list `findings`: name, found, state and cure of each."""
    return json.dumps(
        {"ready": not problems(findings), "findings": [asdict(one) for one in findings]}, indent=1
    )


def problems(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.state == PROBLEM]


def _summary(findings: Sequence[Finding]) -> str:
    bad = problems(findings)
    if bad:
        count = "one thing keeps" if len(bad) == 1 else f"{len(bad)} things keep"
        return f"{count} `make up` from working here: {', '.join(one.name for one in bad)}"
    return "`make up` can work here"

"""Whether a certificate and a key belong together; what else is refused: program/test_access.py."""

from datetime import UTC, datetime

import pytest

from infra.resources import certificate
from infra.settings.access import belong_together


def test_a_key_belongs_to_its_certificate_only() -> None:
    made, other = (certificate.issue(["localhost"], datetime.now(UTC)) for _ in range(2))
    assert belong_together(made["certificate"], made["key"])
    assert not belong_together(made["certificate"], other["key"])
    with pytest.raises(ValueError):
        belong_together("no PEM", made["key"])

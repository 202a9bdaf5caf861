"""`dlstack:env` and `dlstack:secretEnv`: what is refused, without a word of a secret."""

import json

import pulumi
import pytest

from infra.settings import configuration
from infra.settings.settings import Settings
from tests.infra.conftest import Configure


def load(configure: Configure, *secret: str, **values: object) -> Settings:
    """Read a configuration in which the keys `secret` are encrypted, or something in them."""
    configure(**{key: json.dumps(value) for key, value in values.items()})
    known = {key: pulumi.runtime.get_config(f"dlstack:{key}") for key in configuration.KEYS}
    pulumi.runtime.set_all_config(
        {f"dlstack:{key}": str(value) for key, value in known.items() if value},
        [f"dlstack:{key}" for key in secret],
    )
    return configuration.load()


def test_plain_and_secret_variables_are_read_and_the_latter_are_not_shown(
    configure: Configure,
) -> None:
    found = load(configure, "secretEnv", env={"A": 1, "B": True}, secretEnv={"TOKEN": "hunter2"})
    assert found.env == {"A": "1", "B": "true"}
    assert found.secret_env == {"TOKEN": "hunter2"}
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("secret", "values", "message"),
    [
        ([], {"secretEnv": {"TOKEN": "hunter2"}}, r"secretEnv\.TOKEN is not encrypted .*--secret"),
        (["env"], {"env": {"TOKEN": "hunter2"}}, r"env has a secret value, .* dlstack:secretEnv"),
        (
            ["runParameters"],
            {"runParameters": {"token": "hunter2"}},
            r"runParameters has a secret value, .*--secret --path dlstack:secretEnv\.NAME",
        ),
        (["secretEnv"], {"secretEnv": "hunter2"}, r"secretEnv is not an object"),
        (["secretEnv"], {"secretEnv": {"TOKEN": ["hunter2"]}}, r"neither a text nor a number"),
        (["secretEnv"], {"secretEnv": {"A-B": "hunter2"}}, r"'A-B', which is not the name of"),
        (["secretEnv"], {"secretEnv": {"A": "hunter2\0"}}, r"'A', with a value that has a NUL"),
        (
            ["secretEnv"],
            {"env": {"A": "1"}, "secretEnv": {"A": "hunter2"}},
            r"'A' is in dlstack:env and in dlstack:secretEnv\. Remove one",
        ),
        ([], {"env": {"TF_CONFIG": "{}"}}, r"'TF_CONFIG', which dlstack sets itself"),
        ([], {"env": {"AWS_REGION": "x"}}, r"'AWS_REGION', which dlstack sets itself"),
        ([], {"env": {"DLSTACK_BOOT_A": "x"}}, r"'DLSTACK_BOOT_A', which dlstack sets itself"),
        ([], {"env": {"https_proxy": "http://p"}}, r"'https_proxy', which dlstack:proxy sets"),
    ],
)
def test_what_is_refused(
    configure: Configure, secret: list[str], values: dict[str, object], message: str
) -> None:
    with pytest.raises(pulumi.RunError, match=message) as refusal:
        load(configure, *secret, **values)
    assert "hunter2" not in str(refusal.value)

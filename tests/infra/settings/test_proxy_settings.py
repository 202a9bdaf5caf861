"""`dlstack:proxy`: what is refused, without a word of its passwords, and what pods are told."""

import json

import pulumi
import pytest

from infra.settings import configuration, proxy
from tests.infra.conftest import Configure

WITH_PASSWORD = '{"httpsProxy": "http://ann:hunter2@proxy:3128"}'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3128", r"dlstack:proxy '3128' is not an object .*proxy\.httpsProxy http://HOST:PORT"),
        ('{"http": "http://proxy:1"}', r"has 'http', which is unknown\. Use httpProxy, "),
        ('{"httpProxy": 3128}', r"has a httpProxy that is not a text"),
        ('{"httpProxy": "proxy:3128"}', r"has an httpProxy that is not the URL of a proxy\. Use "),
        ('{"noProxy": ".example.com"}', r"names no proxy\. .* or remove the key"),
        (WITH_PASSWORD, r"has an httpsProxy with a user in it, and is not encrypted .*--secret "),
        ("http://ann:hunter2@proxy:3128", r"dlstack:proxy is not an object of names"),
        ('{"httpsProxy": "ftp://ann:hunter2@proxy"}', r"that is not the URL of a proxy"),
    ],
)
def test_what_is_refused(configure: Configure, value: str, message: str) -> None:
    configure(proxy=value)
    with pytest.raises(pulumi.RunError, match=message) as refusal:
        configuration.load()
    assert "hunter2" not in str(refusal.value)


def test_a_password_may_be_in_an_encrypted_one(configure: Configure) -> None:
    configure()
    required = {key: pulumi.runtime.get_config(f"dlstack:{key}") for key in configuration.KEYS}
    known = {f"dlstack:{key}": str(value) for key, value in required.items() if value}
    pulumi.runtime.set_all_config({**known, "dlstack:proxy": WITH_PASSWORD}, ["dlstack:proxy"])
    found = configuration.load().proxy
    assert found is not None and found.https == "http://ann:hunter2@proxy:3128"
    assert "hunter2" not in repr(configuration.load())


def pod_variables(configure: Configure, **values: str) -> dict[str, str]:
    configure(proxy=json.dumps(values))
    found = configuration.load().proxy
    assert found is not None
    return proxy.variables(found, (".svc", "127.0.0.1"))


def test_pods_are_told_in_both_cases(configure: Configure) -> None:
    found = pod_variables(configure, httpProxy="http://one:1", noProxy="a.example, 10.0.0.0/8")
    assert found == {
        **dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://one:1"),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "a.example,10.0.0.0/8,.svc,127.0.0.1"),
    }


def test_who_excepts_all_is_left_at_that(configure: Configure) -> None:
    assert pod_variables(configure, httpsProxy="http://one:1", noProxy="a,*")["no_proxy"] == "*"

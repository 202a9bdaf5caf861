"""Where host, port and model come from. How a stack is asked for them is in test_stack.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from client import SettingsError
from client._settings.settings import resolve

OUTPUTS = {
    "host": "10.0.0.3",
    "grpcPort": 31670,
    "restUrl": "http://10.0.0.3:31671",
    "modelName": "mnist",
    "modelVersion": 4,
}


def never() -> Mapping[str, Any]:
    raise AssertionError("The stack was read although nothing needed it.")


def test_flags_come_before_the_environment() -> None:
    settings = resolve(
        {"host": "flag", "port": None, "timeout": 3.0},
        {"DLSTACK_HOST": "environment", "DLSTACK_PORT": "1234", "DLSTACK_MODEL": "m"},
        never,
    )
    assert (settings.host, settings.port, settings.model) == ("flag", 1234, "m")
    assert settings.lines() == [
        "transport = grpc (default)",
        "host = flag (--host)",
        "port = 1234 (DLSTACK_PORT)",
        "model = m (DLSTACK_MODEL)",
        "timeout = 3.0 (--timeout)",
        "retries = 3 (default)",
    ]


def test_every_setting_may_come_from_the_environment() -> None:
    settings = resolve(
        {},
        {
            "DLSTACK_TRANSPORT": "rest",
            "DLSTACK_HOST": "h",
            "DLSTACK_PORT": "1",
            "DLSTACK_MODEL": "m",
            "DLSTACK_VERSION": "2",
            "DLSTACK_SIGNATURE": "s",
            "DLSTACK_TIMEOUT": "0.5",
            "DLSTACK_RETRIES": "0",
        },
        never,
    )
    assert (settings.transport, settings.port, settings.version) == ("rest", 1, 2)
    assert (settings.signature, settings.timeout, settings.retries) == ("s", 0.5, 0)


@pytest.mark.parametrize(("transport", "port"), [("grpc", 8500), ("rest", 8501)])
def test_a_host_that_is_given_has_tf_servings_own_port(transport: str, port: int) -> None:
    settings = resolve({"host": "h", "transport": transport}, {}, lambda: OUTPUTS)
    assert (settings.host, settings.port, settings.model) == ("h", port, "mnist")


@pytest.mark.parametrize(("transport", "port"), [("grpc", 31670), ("rest", 31671)])
def test_the_stack_gives_what_is_given_nowhere_else(transport: str, port: int) -> None:
    settings = resolve({"transport": transport}, {}, lambda: OUTPUTS)
    assert (settings.host, settings.port, settings.model) == ("10.0.0.3", port, "mnist")
    assert f"port = {port} (output of the Pulumi stack)" in settings.lines()


def test_a_port_that_is_given_is_kept_with_the_stacks_host() -> None:
    settings = resolve({"port": 5}, {}, lambda: OUTPUTS)
    assert (settings.host, settings.port) == ("10.0.0.3", 5)


@pytest.mark.parametrize("host", ["10.0.0.3", "[10.0.0.3]"])
@pytest.mark.parametrize(("transport", "port"), [("grpc", 31670), ("rest", 31671)])
def test_the_stacks_own_host_keeps_its_port_when_it_is_named(
    host: str, transport: str, port: int
) -> None:
    """DLSTACK_HOST=127.0.0.1 in the folder of a stack on 127.0.0.1 asked port 8500."""
    if host.startswith("["):
        host = "[::1]"
        outputs = OUTPUTS | {"host": "::1", "restUrl": "http://[::1]:31671"}
    else:
        outputs = OUTPUTS
    settings = resolve({"transport": transport}, {"DLSTACK_HOST": host}, lambda: outputs)
    assert (settings.port, settings.model) == (port, "mnist")
    assert f"port = {port} (output of the Pulumi stack)" in settings.lines()


def test_names_of_this_machine_are_one_host() -> None:
    outputs = OUTPUTS | {"host": "127.0.0.1"}
    assert resolve({"host": "localhost"}, {}, lambda: outputs).port == 31670
    assert resolve({"host": "localhost.example.com"}, {}, lambda: outputs).port == 8500


@pytest.mark.parametrize(
    ("host", "bare", "port"),
    [
        ("h:31670", "h", 31670),
        ("[::1]:31670", "::1", 31670),
        ("[::1]", "::1", 8500),
        ("::1", "::1", 8500),
        ("10.0.0.3:1", "10.0.0.3", 1),
    ],
)
def test_a_host_may_bring_its_port(host: str, bare: str, port: int) -> None:
    settings = resolve({"model": "m"}, {"DLSTACK_HOST": host}, never)
    assert (settings.host, settings.port) == (bare, port)


def test_two_ports_are_one_too_many() -> None:
    with pytest.raises(SettingsError, match="DLSTACK_HOST says port 5, --port 6. Give one of them"):
        resolve({"model": "m", "port": 6}, {"DLSTACK_HOST": "h:5"}, never)
    # A variable for the port is of another host then.
    settings = resolve({"model": "m", "host": "h:5"}, {"DLSTACK_PORT": "6"}, never)
    assert settings.port == 5


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DLSTACK_PORT": "many"}, "DLSTACK_PORT='many' is not a whole number"),
        ({"DLSTACK_TIMEOUT": "3 s"}, "DLSTACK_TIMEOUT='3 s' is not a number"),
        ({"DLSTACK_TIMEOUT": "-1"}, "Timeout -1.0 is not a time"),
        ({"DLSTACK_TRANSPORT": "smtp"}, "Transport 'smtp' is unknown"),
    ],
)
def test_values_that_make_no_sense_are_said(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        resolve({"host": "h", "model": "m"}, environment, never)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({}, "no output for the host"),
        ({"host": "h"}, "no output for the model"),
        (OUTPUTS | {"grpcPort": "soon"}, "grpcPort is 'soon'"),
    ],
)
def test_a_stack_that_is_not_up_is_said(outputs: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        resolve({}, {}, lambda: outputs)


def test_an_encrypted_rest_url_means_tls() -> None:
    outputs = OUTPUTS | {"restUrl": "https://models.example.com"}
    settings = resolve({"transport": "rest"}, {}, lambda: outputs)
    assert (settings.host, settings.port, settings.tls) == ("models.example.com", 443, True)
    assert "tls = True (output of the Pulumi stack)" in settings.lines()


LOCKED = OUTPUTS | {
    "restUrl": "https://10.0.0.3:31671",
    "tls": True,
    "caCertificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "token": "a-token-of-24-characters",
}


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_stack_with_tls_and_a_token_says_both(transport: str) -> None:
    settings = resolve({"transport": transport}, {}, lambda: LOCKED)
    assert (settings.tls, settings.ca) == (True, LOCKED["caCertificate"])
    assert settings.token == LOCKED["token"]
    lines = settings.lines()
    assert "ca = a PEM text (output of the Pulumi stack)" in lines
    assert "token = set (output of the Pulumi stack)" in lines
    assert LOCKED["token"] not in str(lines) + repr(settings)


def test_the_token_of_a_stack_goes_to_no_other_host() -> None:
    settings = resolve({"host": "elsewhere"}, {}, lambda: LOCKED)
    assert (settings.model, settings.tls, settings.ca, settings.token) == (
        "mnist",
        False,
        None,
        None,
    )


def test_what_is_given_comes_before_the_stacks(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine")
    settings = resolve(
        {"ca": "ca.pem"}, {"DLSTACK_TOKEN_FILE": str(tmp_path / "token")}, lambda: LOCKED
    )
    assert (settings.ca, settings.token) == ("ca.pem", "mine")


def test_a_file_for_tls_means_tls() -> None:
    given = {"host": "h", "model": "m"}
    settings = resolve(given, {"DLSTACK_CA": "ca.pem"}, never)
    assert "tls = True (DLSTACK_CA)" in settings.lines()
    assert not resolve(given, {}, never).tls
    assert resolve(given, {"DLSTACK_TLS": "yes"}, never).tls
    with pytest.raises(SettingsError, match="--ca is given, but DLSTACK_TLS says no TLS"):
        resolve(given | {"ca": "ca.pem"}, {"DLSTACK_TLS": "0"}, never)
    with pytest.raises(SettingsError, match="DLSTACK_TLS='maybe' is not yes or no"):
        resolve(given, {"DLSTACK_TLS": "maybe"}, never)


def test_a_token_comes_from_environment_or_file_and_is_never_shown(tmp_path: Path) -> None:
    given = {"host": "h", "model": "m", "tls": True}
    (tmp_path / "token").write_text("s3cret\n")
    for flags, environment, source in [
        ({}, {"DLSTACK_TOKEN": "s3cret"}, "DLSTACK_TOKEN"),
        ({"token_file": str(tmp_path / "token")}, {}, "--token-file"),
        ({}, {"DLSTACK_TOKEN_FILE": str(tmp_path / "token")}, "DLSTACK_TOKEN_FILE"),
    ]:
        settings = resolve(given | flags, environment, never)
        assert settings.token == "s3cret"
        assert f"token = set ({source})" in settings.lines()
        assert "s3cret" not in repr(settings) + "".join(settings.lines())
    settings = resolve(
        given | {"token_file": str(tmp_path / "token")}, {"DLSTACK_TOKEN": "other"}, never
    )
    assert settings.token == "s3cret"  # Flags come first here, too.
    with pytest.raises(SettingsError, match="Cannot read token file"):
        resolve(given | {"token_file": str(tmp_path / "missing")}, {}, never)


def test_a_flag_for_a_version_takes_the_place_of_a_variable_for_its_label() -> None:
    given = {"host": "h", "model": "m"}
    settings = resolve(given | {"version": 3}, {"DLSTACK_LABEL": "stable"}, never)
    assert (settings.version, settings.label) == (3, None)
    settings = resolve(given | {"label": "stable"}, {"DLSTACK_VERSION": "3"}, never)
    assert (settings.version, settings.label) == (None, "stable")
    assert "label = stable (--label)" in settings.lines()


def test_no_retries_is_a_setting_too() -> None:
    settings = resolve({"host": "h", "model": "m", "retries": 0}, {}, never)
    assert "retries = 0 (--retries)" in settings.lines()
    assert settings.without_default_retries() is settings
    assert resolve({"host": "h", "model": "m"}, {}, never).without_default_retries().retries == 0

"""A configuration file that outlived the passphrase of its stack.

After `rm -r ~/.dlstack` the checkout still has `Pulumi.local.yaml`, with the salt of the old
passphrase. Symptom: each `make up` ends with "incorrect passphrase".
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.__main__ import Platform
from local.console import LocalError
from local.home import REPOSITORY, Home
from local.stack import encryption
from local.stack.stack import Stack, defaults

PLAIN = """# ours
config:
  dlstack:dataDir: /data
  dlstack:runParameters:
    secure: "no"
    epochs: 2
"""
SALT = "encryptionsalt: v1:pGg4z4ssAVs=:v1:r3pt9jE8qkOEE9LH:XwNuucyB/bvrQxFMtJ9A5//Cwel8KA==\n"


def test_without_secrets_only_the_salt_goes(tmp_path, capsys):
    file = tmp_path / "Pulumi.local.yaml"
    file.write_text(SALT + PLAIN)
    encryption.forget_lost_salt(file)
    assert file.read_text() == PLAIN
    assert f"out of {file}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", ["{secure: v1:abc}", "[{secure: v1:abc}]", "{password: {secure: v1:abc}}"]
)
def test_secrets_are_never_thrown_away(tmp_path, value):
    file = tmp_path / "Pulumi.local.yaml"
    text = f"{SALT}{PLAIN}  dlstack:token: {value}\n"
    file.write_text(text)
    with pytest.raises(
        LocalError, match=r"has secrets \(dlstack:token\).*PULUMI_CONFIG_PASSPHRASE"
    ):
        encryption.forget_lost_salt(file)
    assert file.read_text() == text


def test_no_new_passphrase_is_made_for_a_state_of_another_one(tmp_path):
    home = Home(tmp_path)
    state = home.stacks / ".pulumi" / "stacks" / "dlstack" / "local.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    with pytest.raises(LocalError, match="passphrase .* is gone.*Put it back"):
        encryption.create(home)
    state.unlink()
    encryption.create(home)
    assert encryption.file(home).stat().st_mode & 0o777 == 0o600


@pytest.fixture
def configuration() -> Iterator[Path]:
    """Of a stack in this checkout that only this module makes."""
    file = REPOSITORY / "Pulumi.outlived.yaml"
    file.unlink(missing_ok=True)
    yield file
    file.unlink(missing_ok=True)


def test_a_salt_of_another_home_gives_way_to_that_of_the_state(tmp_path):
    """Symptom: a checkout that was used with two homes ended with "incorrect passphrase"."""
    file = tmp_path / "Pulumi.local.yaml"
    file.write_text("config:\n  dlstack:host: h\nencryptionsalt: v1:other\n")
    assert encryption.take_salt_of_state(file, "v1:ours")
    assert file.read_text() == "config:\n  dlstack:host: h\nencryptionsalt: v1:ours\n"
    # Then it is the passphrase that is wrong, which nothing here mends.
    assert not encryption.take_salt_of_state(file, "v1:ours")
    secret = "config:\n  dlstack:token:\n    secure: v1:abc\nencryptionsalt: v1:other\n"
    file.write_text(secret)
    assert not encryption.take_salt_of_state(file, "v1:ours")
    assert file.read_text() == secret


@pytest.mark.slow
def test_a_stack_is_made_again_whose_state_and_passphrase_were_removed(tmp_path, configuration):
    """With Pulumi itself: it has to be there, or is made."""
    environment = Platform().environment()

    def stack(life: str) -> Stack:
        # No character of a folder's name means something else in the address of the back end.
        home = Home(tmp_path / f"{life} #1?a=%20 é")
        home.make_room(0)
        return Stack(
            {
                **environment,
                "PULUMI_STACK": "outlived",
                "PULUMI_BACKEND_URL": defaults(home, "")["PULUMI_BACKEND_URL"],
                "PULUMI_CONFIG_PASSPHRASE": life,
            }
        )

    def salt() -> str:
        return configuration.read_text().partition("encryptionsalt: ")[2].partition("\n")[0]

    stack("first").configure({"runtimeImage": "image:1"}, {})
    first = salt()
    assert first
    (first_home,) = tmp_path.iterdir()
    assert list(Home(first_home).stacks.rglob("outlived.json"))
    stack("second").configure({}, {})
    assert salt() not in ("", first)
    assert "dlstack:runtimeImage: image:1" in configuration.read_text()
    stack("second")._read("config", "set", "--secret", "dlstack:token", "x" * 20)
    before = configuration.read_text()
    with pytest.raises(LocalError, match=r"has secrets \(dlstack:token\)"):
        stack("third").configure({}, {})
    assert configuration.read_text() == before

"""A configuration file that outlived the passphrase of its stack. Pulumi itself: tests/cluster/.

After `rm -r ~/.dlstack` the checkout still has `Pulumi.local.yaml`, with the salt of the old
passphrase. Symptom: each `make up` ends with "incorrect passphrase".
"""

import pytest

from local.console import LocalError
from local.home import Home
from local.stack import encryption

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

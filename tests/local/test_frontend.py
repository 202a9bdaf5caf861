"""The model server's front end in the place where `python -m serving` of this checkout looks."""

import subprocess
import sys

from local.platform import Platform
from tests.frontend import program


def test_it_is_put_beside_python_and_replaced_by_a_newer_one(tmp_path, monkeypatch):
    program()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    place = tmp_path / "dlstack-frontend"
    assert Platform().place_frontend(build=True) == place
    said = subprocess.run([place, "--protocol"], capture_output=True, text=True, check=True)
    assert said.stdout.strip().isdigit()
    place.write_bytes(b"of an older checkout")
    Platform().place_frontend(build=False)
    assert place.read_bytes() == program().read_bytes()
    assert list(tmp_path.iterdir()) == [place]


def test_without_a_build_nothing_is_put_there(tmp_path, monkeypatch):
    monkeypatch.setenv("DLSTACK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert Platform().place_frontend(build=False) is None
    assert not (tmp_path / "dlstack-frontend").exists()

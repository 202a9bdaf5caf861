"""What `make up` says of the machine before it begins; machines are those of machine/doctor."""

import json
from argparse import Namespace

import pytest

from local import doctor, node_count
from local.console import LocalError
from local.home import Home
from tests.local.machine.doctor.fake_machine import GIB, Fake


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """The machine that is asked, to be made different before."""
    fake = Fake(tmp_path / "root")
    monkeypatch.setattr(doctor, "Machine", fake.machine)
    return fake


def test_of_a_good_machine_nothing_is_said(machine, home, capsys):
    doctor.check(home)
    assert capsys.readouterr() == ("", "")
    assert not home.root.exists()


def test_warnings_are_a_line_each(machine, home, capsys):
    machine.different["open_files"] = 1024
    machine.disk["free"] = int(18.5 * GIB)
    doctor.check(home)
    said = capsys.readouterr().err.splitlines()
    assert [line.split("s  ")[1].split(":")[0] for line in said] == ["open files", "disk"]


def test_problems_are_refused_in_the_words_of_make_doctor(machine, home, monkeypatch, capsys):
    machine.different.update(user=1000, release="4.18.0")
    with pytest.raises(LocalError) as refused:
        doctor.check(home)
    shown = str(refused.value)
    for one in doctor.examination.quick(machine.machine(), doctor.needs(home)):
        assert (one.sentence in shown) == (one.state == "problem")
    assert "DLSTACK_IGNORE='user,kernel,kernel modules'" in shown
    monkeypatch.setenv("DLSTACK_IGNORE", "user,kernel,kernel modules")
    doctor.check(home)
    assert "needs root" in capsys.readouterr().err


def test_settings_of_no_use_are_json_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DLSTACK_HOME", str(tmp_path))
    monkeypatch.setenv("DLSTACK_NETWORK", "garbage")
    assert doctor.examine(Namespace(json=True)) == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["ready"]
    assert "DLSTACK_NETWORK is 'garbage'" in answer["findings"][0]["found"]
    with pytest.raises(LocalError, match="garbage"):
        doctor.examine(Namespace(json=False))


def test_a_trial_that_fails_is_refused_before_the_first_start_only(machine, home, monkeypatch):
    """And before the first start with more nodes, which need more of the kernel."""
    machine.commands["unshare"] = "bridge|\noverlay|mount: wrong fs type, bad option.\n"
    with pytest.raises(LocalError, match=r"kernel \(overlay\): mount: wrong fs type.*DLSTACK_HOME"):
        doctor.try_out(home)
    (home.platform / "pki").mkdir(parents=True)
    (home.platform / "pki" / "admin.kubeconfig").touch()
    doctor.try_out(home)
    monkeypatch.setenv("NODES", "3")
    with pytest.raises(LocalError, match="mount: wrong fs type"):
        doctor.try_out(home)
    node_count.keep(home.platform, 3)
    doctor.try_out(home)


def test_a_first_start_needs_more_room_than_later_ones(machine, home):
    assert doctor.needs(home).gibibytes == doctor.COLD_GIBIBYTES
    home.cache.mkdir(parents=True)
    (home.cache / "image-localhost_dlstack_runtime-1a2b.tar").touch()
    assert doctor.needs(home).gibibytes == doctor.BUILT_GIBIBYTES
    (home.platform / "pki").mkdir(parents=True)
    (home.platform / "pki" / "admin.kubeconfig").touch()
    assert doctor.needs(home).gibibytes == doctor.WARM_GIBIBYTES

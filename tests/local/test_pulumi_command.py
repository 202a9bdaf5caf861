"""`pulumi` as the commands run it: locks, interrupts, and what a killed one leaves behind.

The real one is for tests/cluster/.
"""

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.console import LocalError
from local.home import REPOSITORY
from local.stack import leftovers, locks
from local.stack.stack import Stack
from tests.local import fake_pulumi

NOW = datetime.now(UTC)


def stack(folder: Path, monkeypatch, backend="file:///stacks", **state) -> Stack:
    variables = fake_pulumi.install(folder, **state)
    monkeypatch.setenv("PATH", variables["PATH"])
    return Stack({"PULUMI_STACK": "local", "PULUMI_BACKEND_URL": backend})


def lock_line(pid: int, host: str | None = None, since: datetime = NOW) -> str:
    return f"eve@{host or socket.gethostname()} (pid {pid}) at {since.isoformat('T', 'seconds')}"


@pytest.fixture
def ended() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_lock_of_somebody_at_work_is_said_in_our_words(tmp_path, monkeypatch, capfd):
    held = lock_line(os.getpid())
    with pytest.raises(
        LocalError,
        match=rf"'local' is locked by eve@.*process {os.getpid()}, since .*make up` again.*"
        "pulumi cancel local",
    ):
        stack(tmp_path, monkeypatch, locked=held).up()
    assert "currently locked" not in capfd.readouterr().err
    assert [words[0] for words in fake_pulumi.calls(tmp_path)] == ["up"]


def test_the_lock_of_a_killed_process_of_this_machine_is_cleared(
    tmp_path, monkeypatch, capfd, ended
):
    stack(tmp_path, monkeypatch, locked=lock_line(ended)).destroy()
    calls = fake_pulumi.calls(tmp_path)
    assert [words[0] for words in calls] == ["destroy", "cancel", "refresh", "destroy"]
    assert {"--clear-pending-creates", "--exclude=**"} <= {*calls[2]}
    assert "left the stack 'local' locked and has ended" in capfd.readouterr().err


@pytest.mark.parametrize("backend", ["s3://team", "https://pulumi.example.com"])
def test_no_lock_is_cleared_in_a_back_end_that_others_share(tmp_path, monkeypatch, ended, backend):
    with pytest.raises(LocalError, match="pulumi cancel local"):
        stack(tmp_path, monkeypatch, backend, locked=lock_line(ended)).up()


def test_a_process_that_took_over_the_id_does_not_hold_the_lock(ended):
    def of(pid: int, **changes) -> bool:
        said = f"{locks.LOCKED} 1 lock(s)\n  file:///a: created by {lock_line(pid, **changes)}"
        (lock,) = locks.read(said)
        return lock.is_left_behind()

    assert of(ended)
    assert not of(ended, host="elsewhere")
    assert not of(os.getpid())
    assert of(os.getpid(), since=NOW - timedelta(days=400))


def test_an_error_that_is_no_lock_names_none():
    assert locks.read("error: made: created by a@b (pid 1) at 2026-01-01T00:00:00Z") == ()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pulumi_is_interrupted_once_and_awaited(tmp_path, number):
    """Symptom otherwise: Ctrl-C kills pulumi after a quarter of a second, which leaves its lock."""
    code = (
        "from local.stack.stack import Stack\n"
        "Stack({'PULUMI_STACK': 'local', 'PULUMI_BACKEND_URL': 'file:///x'}).up()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, **fake_pulumi.install(tmp_path, waits=True)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"
    os.killpg(process.pid, number)  # As a terminal does.
    _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert "interrupt again to end it at once" in said
    assert (tmp_path / "interrupts").read_text() == "1"


def test_plugins_of_a_killed_pulumi_are_found_and_ended(tmp_path):
    script = tmp_path / "pulumi-resource-test"
    script.write_text('#!/bin/sh\necho $$\nread -r _ <"$PIPE"\n')
    script.chmod(0o755)
    os.mkfifo(tmp_path / "pipe")
    environment = {**os.environ, "PIPE": str(tmp_path / "pipe"), "PULUMI_HOME": str(tmp_path)}
    with subprocess.Popen(
        ["pulumi", "-c", f"{script} & wait"],
        executable="/bin/sh",
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as pulumi:
        assert pulumi.stdout is not None
        pid = int(pulumi.stdout.readline())
        assert list(leftovers.find(str(tmp_path))) == []  # Its pulumi is at work.
        pulumi.kill()
    assert list(leftovers.find("/another/home")) == []
    assert leftovers.end(str(tmp_path)) == [leftovers.Leftover(pid, "pulumi-resource-test")]
    assert list(leftovers.find(str(tmp_path))) == []

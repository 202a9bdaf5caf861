"""Background processes: started once, told apart from strangers, ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from local.console import LocalError
from local.home import REPOSITORY
from local.machine.processes import Daemon, end_process, has_ended, run_logged, started_in
from tests.waiting import eventually

WAITS = [sys.executable, "-c", "import signal; signal.pause()"]


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon("waits", WAITS, tmp_path)
    yield daemon
    daemon.stop(grace_seconds=0)


def test_a_running_process_is_not_started_again(daemon):
    assert daemon.start()
    pid = daemon.pid()
    assert not daemon.start()
    assert daemon.pid() == pid


def test_a_killed_process_is_seen_and_started_anew(daemon):
    daemon.start()
    killed = daemon.pid()
    os.kill(killed, signal.SIGKILL)
    os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
    assert daemon.pid() is None
    assert daemon.start()
    assert daemon.pid() not in (None, killed)


def test_a_process_of_another_command_or_content_is_replaced(daemon, tmp_path):
    file = tmp_path / "configuration"
    file.write_text("1")

    def wanted(*words):
        return Daemon("waits", [*WAITS, *words], tmp_path, reads=[file])

    pids = []
    for words, content in (((), "1"), (("--more",), "1"), (("--more",), "2")):
        file.write_text(content)
        assert wanted(*words).start()
        assert not wanted(*words).start()
        pids.append(daemon.pid())
    assert len(set(pids)) == 3


def test_a_process_is_found_when_its_folder_is_gone(tmp_path):
    starts = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    daemon = Daemon("lost", [sys.executable, "-c", starts, WAITS[-1]], tmp_path / "here")
    other = Daemon("lost", WAITS, tmp_path / "here too")
    for one in (daemon, other):
        one.folder.mkdir()
        one.start()
    pid = daemon.pid()
    shutil.rmtree(daemon.folder)
    while len(started_in(daemon.folder)) < 2:
        pass
    assert started_in(daemon.folder, alone=True) == [pid]
    for left in started_in(daemon.folder):
        end_process(left, 0)
    assert started_in(daemon.folder) == []
    assert started_in(other.folder) == [other.pid()]
    other.stop()


def test_a_stranger_with_the_same_process_id_is_left_alone(daemon):
    daemon.start()
    file = daemon.folder / "pids" / daemon.name
    known = json.loads(file.read_text())
    file.write_text(json.dumps({"pid": os.getpid(), "start_time": "0"}))
    assert daemon.pid() is None
    daemon.stop()
    file.write_text(json.dumps(known))


def test_stop_kills_what_does_not_end_by_itself(tmp_path):
    deaf = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); signal.pause()"
    )
    daemon = Daemon("deaf", [sys.executable, "-c", deaf], tmp_path)
    daemon.start()
    while "deaf" not in daemon.log.read_text():
        pass
    daemon.stop(grace_seconds=0.05)
    assert daemon.pid() is None


def test_a_failed_command_shows_the_end_of_its_log(tmp_path):
    words = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]
    with pytest.raises(LocalError, match="(?s)ended with status 3.*the reason"):
        run_logged(words, tmp_path / "log")


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(LocalError, match="'no-such-program' is not installed"):
        run_logged(["no-such-program", "x"], tmp_path / "log")


def test_what_ends_a_command_ends_what_it_runs(tmp_path):
    """SIGTERM to the command alone, as of `timeout` or `kill`, left a compiler running."""
    text = (
        "import sys; from pathlib import Path; from local.__main__ import end_as_by_ctrl_c;"
        "from local.machine.processes import run_logged; end_as_by_ctrl_c();"
        "run_logged(['sh', '-c', 'echo $$; exec sleep 600'], Path(sys.argv[1]))"
    )
    log = tmp_path / "log"
    command = subprocess.Popen(
        [sys.executable, "-c", text, log], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < until and command.poll() is None
        time.sleep(0.02)
    command.terminate()
    assert "KeyboardInterrupt" in command.communicate(timeout=60)[1]
    # Init takes it from the process table a moment after its end.
    running = Path("/proc", log.read_text().strip())
    eventually(lambda: not running.exists())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_a_command_at_the_start_of_another_one_ends_that(tmp_path, number):
    """Symptom: a compiler that ran on, when the command was ended just as it began."""
    text = textwrap.dedent(
        """
        import os, subprocess, sys
        from pathlib import Path
        from local.__main__ import end_as_by_ctrl_c
        from local.machine import processes

        class Interrupted(subprocess.Popen):
            def __init__(self, *words, **options):
                super().__init__(*words, **options)
                print(self.pid, flush=True)
                os.kill(os.getpid(), int(sys.argv[2]))

        end_as_by_ctrl_c()
        processes.subprocess.Popen = Interrupted
        processes.run_logged(["sleep", "600"], Path(sys.argv[1]))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", text, tmp_path / "log", str(int(number))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert "KeyboardInterrupt" in done.stderr
    assert not Path("/proc", done.stdout.strip()).exists()


@pytest.mark.parametrize("said", [ProcessLookupError, FileNotFoundError])
def test_a_process_that_ends_just_now_has_ended(said, monkeypatch):
    def gone(_pid):
        raise said

    monkeypatch.setattr("os.pidfd_open", gone)
    assert has_ended(1, 0)
    end_process(1, 1)

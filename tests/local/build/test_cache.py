"""The cache of several homes."""

import os
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from local.build import cache
from local.build.cache import _holder, alone


def test_another_process_at_the_same_work_is_waited_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: two homes built the image in one folder, and both builds failed."""
    other = subprocess.Popen(
        [sys.executable, "-c"]
        + [
            "import sys; sys.orig_argv = ['python', '-m', 'local', 'up']\n"
            "from pathlib import Path; from local.build.cache import alone\n"
            f"with alone(Path({str(tmp_path)!r}), 'work'):\n"
            "    print('has it', flush=True); sys.stdin.read()\n"
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    waits, entered = threading.Event(), threading.Event()
    step = cache.step

    def begin(title: str) -> AbstractContextManager[None]:
        waits.set()
        return step(title)

    monkeypatch.setattr(cache, "step", begin)

    def enter() -> None:
        with alone(tmp_path, "work"):
            entered.set()

    with other:
        assert other.stdout and other.stdin
        assert other.stdout.readline() == "has it\n"
        with alone(tmp_path, "other work"):
            pass
        waiting = threading.Thread(target=enter)
        waiting.start()
        # Else the other one may end before this one looks for it.
        assert waits.wait(60)
        assert not entered.wait(0.3)
        other.stdin.close()
        assert entered.wait(60)
        waiting.join()
    assert (
        f"wait for process {other.pid} ('-m local up'), which is at the same work (work) in "
        f"{tmp_path}"
    ) in capfd.readouterr().err


def test_a_holder_that_says_nothing_true_is_another_command(tmp_path: Path) -> None:
    """One of an older release, or one that was killed and left its number."""
    file = tmp_path / "work.lock"
    for said in ("", "garbage\n", f"{2**22 + 1} -m local up\n"):
        file.write_text(said)
        with file.open("a+") as lock:
            assert _holder(lock) == "another command"
    with alone(tmp_path, "work"):
        assert file.read_text().startswith(f"{os.getpid()} ")
    assert file.read_text() == ""

"""Checksums and the run hash: what counts as a change."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.run import checksums
from infra.run.attempts import Attempt, next_attempt
from infra.run.run_hash import run_hash

RUN = {
    "code": {"train.py": "1"},
    "library": {"agent.py": "2"},
    "data": {"images.gz": "3"},
    "boot_file": "train.py",
    "run_parameters": {"epochs": "3"},
    "image": "image:1",
    "node_count": 1,
}


class TestChecksums:
    def test_leave_out_what_is_no_source(self, tmp_path: Path) -> None:
        for file in ("a.py", "sub/b.txt", ".git/config", "__pycache__/a.pyc", ".venv/x", "c.pyc"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("content")
        assert list(checksums.folder(tmp_path, "codeDir")) == ["a.py", "sub/b.txt"]

    def test_of_a_file_are_its_sha256(self, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        assert checksums.folder(tmp_path, "codeDir")["empty"].startswith("e3b0c44298fc1c14")

    def test_of_no_files_are_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(pulumi.RunError, match="dataDir '.*' has no files"):
            checksums.folder(tmp_path, "dataDir")

    def test_of_a_broken_link_name_it(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("nowhere")
        with pytest.raises(pulumi.RunError, match="link' can't be read: No such file"):
            checksums.folder(tmp_path, "dataDir")


class TestRunHash:
    def test_does_not_depend_on_order(self) -> None:
        one = run_hash(**RUN | {"run_parameters": {"a": "1", "b": "2"}})
        assert one == run_hash(**RUN | {"run_parameters": {"b": "2", "a": "1"}})
        assert len(one) == 64

    @pytest.mark.parametrize("key", RUN)
    def test_covers(self, key: str) -> None:
        other: Any = 2 if key == "node_count" else {"x": "y"}
        assert run_hash(**RUN | {key: other}) != run_hash(**RUN)

    def test_tells_code_from_data(self) -> None:
        """The same file in the one or the other is another run."""
        moved = RUN | {"code": {"f": "1"}, "data": {}}
        assert run_hash(**moved) != run_hash(**RUN | {"code": {}, "data": {"f": "1"}})


class TestNextAttempt:
    @staticmethod
    def job(
        run: str, attempt: str, condition: str | None, commit: str | None = None
    ) -> dict[str, Any]:
        annotations = {"dlstack.dev/run-hash": run, "dlstack.dev/attempt": attempt}
        if commit:
            annotations["dlstack.dev/commit"] = commit
        conditions = [{"type": condition, "status": "True"}] if condition else []
        return {
            "spec": {"template": {"metadata": {"annotations": annotations}}},
            "status": {"conditions": conditions},
        }

    def test_is_the_first_for_a_new_run(self) -> None:
        jobs = [self.job("other", "3", "Failed", "old")]
        assert next_attempt(jobs, "run", lambda: "new") == Attempt(1, "new")

    @pytest.mark.parametrize("condition", [None, "Complete"])
    def test_stays_while_the_last_did_not_fail(self, condition: str | None) -> None:
        """Symptom otherwise: an `up` without changes that replaces the Job."""
        jobs = [self.job("run", "2", condition), self.job("run", "1", "Failed")]
        assert next_attempt(jobs, "run", lambda: None) == Attempt(2)

    @pytest.mark.parametrize("then", ["a" * 40, None])
    def test_keeps_its_commit_while_no_code_changes(self, then: str | None) -> None:
        """Symptom otherwise: a commit of something else trains anew."""
        jobs = [self.job("run", "1", "Complete", then)]
        assert next_attempt(jobs, "run", lambda: "b" * 40) == Attempt(1, then)

    def test_rises_when_the_last_failed(self) -> None:
        jobs = [self.job("run", "1", "Failed"), self.job("run", "2", "Failed")]
        assert next_attempt(jobs, "run", lambda: "new") == Attempt(3, "new")

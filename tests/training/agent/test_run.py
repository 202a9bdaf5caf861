"""The agent against a real object store, with boot files that train nothing.

Not covered here: a real model; see mnist/test_train_mnist.py.
"""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.store_gate import Gate
from tests.training.conftest import ROOT, RUN_HASH, Bucket, eventually, read_until
from training.agent.flags import run_parameters

PROLOGUE = """
import json, os, pathlib, signal, sys, time
flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
output = pathlib.Path(flags["train_url"])
def finish(accuracy):
    (output / "model" / "variables").mkdir(parents=True)
    (output / "model" / "saved_model.pb").write_bytes(b"graph")
    (output / "model" / "variables" / "weights").write_bytes(b"weights")
    (output / "metrics.json").write_text(json.dumps({"accuracy": accuracy, "loss": 0.1}))
"""
WAIT_FOR_EVER = """
(output / "events.out.tfevents.1").write_bytes(b"first")
print("waiting")
time.sleep(600)
"""


@pytest.fixture
def job(bucket: Bucket) -> Bucket:
    """A bucket with data and a boot file that leaves a model of accuracy 0.9."""
    bucket.put("data/part.txt", b"data")
    bucket.put("code/boot.py", (PROLOGUE + "finish(0.9)").encode())
    return bucket


def boot(job: Bucket, text: str) -> None:
    job.put("code/boot.py", (PROLOGUE + text).encode())


def test_a_run_leaves_a_version_with_a_manifest_that_describes_every_file(job: Bucket) -> None:
    details = json.dumps({"image": "training:1", "node_count": 1})
    sources = {"code": {"boot.py": "0123456789ab"}}
    flags = {"min_accuracy": "0.9", "provenance": details, "commit": "c0ffee-dirty"}
    flags["sources"] = json.dumps(sources)
    done = job.run(job.agent("--epochs=3", "--wide=yes", **flags))

    assert (done.returncode, done.stderr) == (0, "")
    manifest = json.loads(job.get("models/toy/1/manifest.json"))
    assert (manifest["model_name"], manifest["version"]) == ("toy", 1)
    assert manifest["run_hash"] == RUN_HASH
    assert manifest["metrics"] == {"accuracy": 0.9, "loss": 0.1}
    assert manifest["parameters"] == {"epochs": "3", "wide": "yes"}
    assert manifest["provenance"] == {
        "boot_file": "boot.py",
        "commit": "c0ffee-dirty",
        "image": "training:1",
        "node_count": 1,
    }
    assert manifest["sources"] == sources
    assert set(manifest["seconds"]) == {"fetch", "train", "publish"}
    for entry in manifest["files"]:
        content = job.get(f"models/toy/1/{entry['path']}")
        assert entry["size"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert {entry["path"] for entry in manifest["files"]} == {"saved_model.pb", "variables/weights"}
    assert {"runs/1/log.txt", "runs/1/metrics.json"} == set(job.listing("runs/"))


def test_the_boot_file_sees_its_data_parameters_and_modules_beside_it(job: Bucket) -> None:
    job.put("code/beside.py", b"NAME = 'a module beside the boot file'")
    boot(
        job,
        "import beside, training\nprint(beside.NAME, flags['rate'], os.getcwd() == sys.path[0])\n"
        "print(pathlib.Path(flags['data_url'], 'part.txt').read_text(), file=sys.stderr)\n"
        "finish(1)",
    )
    done = job.run(job.agent("--rate=0.5"))

    assert "a module beside the boot file 0.5 True\n" in done.stdout
    assert "\ndata\n" in done.stdout
    assert job.get("runs/1/log.txt").decode() == done.stdout


def test_a_published_run_is_not_trained_again(job: Bucket) -> None:
    assert job.run(job.agent()).returncode == 0
    again = job.run(job.agent(data_url=job.url("gone")))

    assert again.returncode == 0
    assert "already published as version 1" in again.stdout
    assert not job.listing("models/toy/2/")


@pytest.mark.parametrize("damage", ["another content", "no file", "no manifest", "nothing left"])
def test_a_damaged_version_is_published_again_from_the_checkpoint_of_its_run(
    job: Bucket, damage: str
) -> None:
    """Symptom otherwise: "is already published", and the model could never be served again."""
    boot(
        job,
        "saved = output / 'checkpoints' / 'done'\n"
        "print('training' if not saved.exists() else 'going on from the end')\n"
        "saved.parent.mkdir(exist_ok=True)\n"
        "saved.write_text('all steps')\n"
        "finish(0.9)",
    )
    assert job.run(job.agent()).returncode == 0
    file, manifest = "models/toy/1/variables/weights", "models/toy/1/manifest.json"
    if damage == "another content":
        # Of the same size, and written within the same second as the manifest.
        job.put(file, b"WEIGHTS")
    else:
        gone = {"no file": [file], "no manifest": [manifest]}
        for key in gone.get(damage, job.listing("models/toy/1/")):
            job.client.delete_object(Bucket=job.name, Key=key)
    again = job.run(job.agent())

    assert (again.returncode, again.stderr) == (0, "")
    assert "going on from the end\n" in again.stdout
    version = 1 if damage == "nothing left" else 2
    assert f"Published version {version} " in again.stdout
    assert ("A published version is damaged. 's3://" in again.stdout) == (
        damage in ("another content", "no file")
    )
    assert job.get(f"models/toy/{version}/variables/weights") == b"weights"


def test_a_published_run_has_to_pass_a_bar_that_was_raised_since(job: Bucket) -> None:
    assert job.run(job.agent()).returncode == 0
    again = job.run(job.agent(min_accuracy="0.95"))

    assert again.returncode == 1
    assert "is below dlstack:minAccuracy 0.95" in again.stderr


def test_another_run_makes_the_next_version_after_the_highest_claimed(job: Bucket) -> None:
    job.put("models/toy/7/.claim", b"{}")
    assert job.run(job.agent()).returncode == 0
    assert "models/toy/8/manifest.json" in job.listing()


def test_two_agents_at_the_same_time_publish_two_versions(job: Bucket) -> None:
    agents = [
        job.start(job.agent(run_hash=digit * 64, train_url=job.url(f"runs/{digit}")))
        for digit in "12"
    ]
    for agent in agents:
        with agent:
            assert agent.communicate(timeout=60)[1] == ""
    manifests = [json.loads(job.get(f"models/toy/{n}/manifest.json")) for n in (1, 2)]
    assert {manifest["run_hash"] for manifest in manifests} == {"1" * 64, "2" * 64}


def test_a_model_below_the_asked_accuracy_is_not_published(job: Bucket) -> None:
    done = job.run(job.agent(min_accuracy="0.95"))

    assert done.returncode == 1
    assert done.stderr == (
        "error: Accuracy 0.9000 is below dlstack:minAccuracy 0.95, so the model is refused. "
        "Improve the training, or ask for less.\n"
    )
    assert job.listing("models/") == []
    assert job.get("runs/1/log.txt").decode().endswith(done.stderr)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--min_metric=accuracy:0.9", "--max_metric=loss:0.1"], ""),
        (
            ["--min_metric=accuracy:0.8", "--min_metric=loss:0.2"],
            "0.1000 is below dlstack:minMetrics.loss",
        ),
        (
            ["--min_accuracy=0.5", "--max_metric=loss:0.05"],
            "Loss 0.1000 is above dlstack:maxMetrics.loss 0.05",
        ),
        (
            ["--min_metric=f1:0.8"],
            "has no 'f1', only ['accuracy', 'loss']. Write it there, or leav",
        ),
    ],
)
def test_any_metric_can_have_a_bar_and_every_bar_counts(
    job: Bucket, flags: list[str], error: str
) -> None:
    done = job.run([*job.agent(), *flags])
    assert error in done.stderr and done.stderr.count("\n") == bool(error)
    assert bool(job.listing("models/")) == (not error)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("finish(1); os.remove(output / 'metrics.json')", "left no 'metrics.json'"),
        ("finish(1); (output / 'metrics.json').write_text('{')", "is not JSON"),
        ("finish(float('nan'))", "not a JSON object of names to finite numbers"),
        ("finish(1); os.remove(output / 'model/saved_model.pb')", "left no 'model/saved_model.pb'"),
    ],
)
def test_a_run_without_a_model_or_metrics_fails_and_publishes_nothing(
    job: Bucket, text: str, error: str
) -> None:
    boot(job, text)
    done = job.run(job.agent())

    assert done.returncode == 1
    assert error in done.stderr and done.stderr.count("\n") == 1
    assert job.listing("models/") == []


@pytest.mark.parametrize(
    ("text", "status"),
    [("sys.exit(7)", 7), ("raise ValueError('x')", 1), ("os.kill(os.getpid(), 9)", 137)],
)
def test_the_agent_exits_with_the_boot_files_status_and_says_so_last(
    job: Bucket, text: str, status: int
) -> None:
    boot(job, text)
    done = job.run(job.agent())

    assert done.returncode == status
    last_line = f"boot file 'boot.py' exited with status {status}"
    assert done.stdout.splitlines()[-1] == last_line
    assert job.get("runs/1/log.txt").decode().splitlines()[-1] == last_line
    assert job.listing("models/") == []


def test_a_boot_file_that_ends_by_sigterm_is_no_pod_that_was_deleted(job: Bucket) -> None:
    """Kubernetes would start it again for ever."""
    boot(job, "os.kill(os.getpid(), signal.SIGTERM)")
    done = job.run(job.agent())

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "boot file 'boot.py' exited with status 143"


def test_a_port_that_is_taken_is_told_in_the_log_too(job: Bucket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        chief = f"127.0.0.1:{taken.getsockname()[1]}"
        done = job.run(job.agent(workers="2", chief=chief), {"JOB_COMPLETION_INDEX": "0"})

    assert done.returncode == 1
    assert "error: Worker 0 can't listen on port" in done.stderr
    assert job.get("runs/1/log.txt").decode().endswith(done.stderr)


def test_output_is_passed_on_and_mirrored_while_the_boot_file_runs(job: Bucket) -> None:
    boot(job, WAIT_FOR_EVER)
    with job.start(job.agent()) as agent:
        assert agent.stdout is not None
        assert "waiting\n" in iter(agent.stdout.readline, "")
        eventually(lambda: "runs/1/events.out.tfevents.1" in job.listing())
        agent.terminate()


def test_sigterm_ends_agent_and_boot_file_within_two_seconds_and_keeps_the_log(
    job: Bucket, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    ignore = "signal.signal(signal.SIGTERM, lambda *_: print('told to end'))\n"
    boot(
        job,
        f"pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\n{ignore}{WAIT_FOR_EVER}",
    )
    with job.start(job.agent(work_dir=str(tmp_path / "work"))) as agent:
        assert agent.stdout is not None
        assert "waiting\n" in iter(agent.stdout.readline, "")
        agent.send_signal(signal.SIGTERM)
        began = time.monotonic()
        status = agent.wait(10)
        seconds = time.monotonic() - began

    assert status == 143
    assert seconds < 2
    assert not Path(f"/proc/{pid_file.read_text()}").exists()
    assert list((tmp_path / "work").iterdir()) == []
    assert "told to end" in job.get("runs/1/log.txt").decode()
    assert job.get("runs/1/events.out.tfevents.1") == b"first"


def test_an_absent_boot_file_is_reported_with_what_is_there(job: Bucket) -> None:
    job.put("code/sub/other.py", b"")
    done = job.run(job.agent(boot_file="missing.py"))

    assert done.returncode == 1
    assert done.stderr == (
        "error: Boot file 'missing.py' is not in the code folder, which has: boot.py, "
        "sub/other.py. Correct dlstack:bootFile, or put the file there.\n"
    )


def test_an_empty_data_folder_is_reported(job: Bucket) -> None:
    done = job.run(job.agent(data_url=job.url("dat")))
    assert done.returncode == 1
    assert f"error: dlstack:dataDir has no files: '{job.url('dat')}' is empty." in done.stderr


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "refused the credentials"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "refused the credentials"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "can't be reached"),
        ({"AWS_ENDPOINT_URL_S3": "nonsense"}, "Can't use the object store at 'nonsense'"),
    ],
)
def test_a_store_that_cannot_be_used_is_reported_in_one_line_within_seconds(
    job: Bucket, environment: dict[str, str], error: str
) -> None:
    began = time.monotonic()
    done = job.run(job.agent(store_seconds="0"), environment)

    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert error in done.stderr
    assert time.monotonic() - began < 15


def test_a_store_that_answers_some_seconds_after_the_start_is_waited_for(job: Bucket) -> None:
    with (
        Gate(job.store) as gate,
        job.start(job.agent(), {"AWS_ENDPOINT_URL_S3": gate.url}) as process,
    ):
        said = read_until(process, "Can't list")
        assert "can't be reached" in said
        assert "Trying again for 5" in said
        gate.open()
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert "Published version 1" in output


@pytest.mark.parametrize("flag", ["code_url", "train_url", "model_url"])
def test_a_missing_bucket_is_named(job: Bucket, flag: str) -> None:
    done = job.run(job.agent(**{flag: "s3://no-such-bucket/x"}))

    assert done.returncode == 1
    assert "error: Can't list 's3://no-such-bucket/x': the object store at " in done.stderr
    assert " has no such bucket. Create it, or correct the URL." in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"run_hash": "abc"}, "argument --run_hash: 'abc' is not 64 hexadecimal digits"),
        ({"min_accuracy": "90"}, "argument --min_accuracy: '90' is not between 0 and 1"),
        ({"min_metric": "f1"}, "argument --min_metric: 'f1' is not like 'f1:0.8'"),
        ({"max_metric": "loss:nan"}, "argument --max_metric: 'loss:nan' is not like 'f1:0.8'"),
        ({"provenance": "[]"}, "argument --provenance: '[]' is not a JSON object"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(job: Bucket, options: dict[str, str], error: str) -> None:
    done = job.run(job.agent(**options))
    assert done.returncode == 2
    assert done.stderr == f"error: {error}. See 'python3 -m training --help'.\n"


def test_run_parameters_are_read_in_each_usual_form() -> None:
    assert run_parameters(["--a=1", "--b", "x", "--flag", "--c=d=e", "--minus", "-1"]) == {
        "a": "1",
        "b": "x",
        "flag": "true",
        "c": "d=e",
        "minus": "-1",
    }


def test_the_agent_and_the_mirror_for_tensorboard_load_no_tensorflow() -> None:
    """It takes seconds and half a gigabyte, beside the boot file's own."""
    program = (
        "import sys, training.agent.run, training.board.event_mirror, training.__main__\n"
        "print([name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"

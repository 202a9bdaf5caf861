"""The agent against a real object store, with boot files that train nothing.

Not covered here: a real model; see mnist/test_train_mnist.py.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.store_gate import Gate
from tests.training.conftest import ROOT, RUN_HASH, Bucket, read_until
from tests.waiting import eventually
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


def require_log(job: Bucket, shown: str) -> None:
    """All that was shown is kept, but what is said of a slow store before there is a log."""
    lines = shown.splitlines(keepends=True)
    while lines and lines[0].startswith("Waiting for the object store at "):
        del lines[0]
    assert job.get("runs/1/log.txt").decode() == "".join(lines)


def await_gone(pid_file: Path) -> None:
    """Return when the boot file is gone: the agent waits a second for what it has killed."""
    eventually(lambda: not Path(f"/proc/{pid_file.read_text()}").exists())


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
    assert {f"runs/1/{name}" for name in ("log.txt", "metrics.json", "run.json")} == set(
        job.listing("runs/")
    )


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
    require_log(job, done.stdout)


def test_data_is_read_where_it_is(job: Bucket) -> None:
    """By paths as of `pathlib`, without TensorFlow; what else needs a file gets a copy of it."""
    boot(
        job,
        "from training.folders import input_folder\n"
        "print(flags['data_url'])\n"
        "with input_folder(flags['data_url']) as data:\n"
        "    print([file.name for file in sorted(data.rglob('*.txt'))])\n"
        "    print((data / 'part.txt').read_text(), open(data / 'part.txt').read(), sep='=')\n"
        "assert 'tensorflow' not in sys.modules and 'numpy' not in sys.modules\n"
        "finish(1)",
    )
    done = job.run(job.agent(data_mode="stream"))

    assert done.returncode == 0, done.stderr
    url = job.url("data")
    assert f"\n{url}\n['part.txt']\ndata=data\n" in done.stdout
    assert f"Data is read where it is, '{url}': 1 file, 0.0 MB\n" in done.stdout
    assert "has changed" not in done.stdout
    record = json.loads(job.get("runs/1/run.json"))
    assert (record["data"]["files"], record["data"]["bytes"]) == (1, 4)


def test_data_that_changes_under_a_run_is_told(job: Bucket) -> None:
    boot(
        job,
        "from training import streams\n"
        "data = streams.folder(flags['data_url'])\n"
        "store = __import__('boto3').client('s3')\n"
        f"store.put_object(Bucket={job.name!r}, Key='data/part.txt', Body=b'other')\n"
        "if 'fail' in flags: (data / 'part.txt').read_bytes()\n"
        "finish(1)",
    )
    failed = job.run(job.agent("--fail=yes", data_mode="stream", run_hash="cd" * 32))
    assert failed.returncode == 1
    said = f"'{job.url('data/part.txt')}' has changed since this training began to read its data."
    assert said in failed.stdout

    again = job.run(job.agent("--fail=yes", data_mode="stream", run_hash="cd" * 32))
    assert again.returncode == 1
    said = "has changed since this run began: 1 file, 0.0 MB then, 1 file, 0.0 MB now"
    assert said in again.stderr and "'pulumi up' begins a run with the data" in again.stderr

    job.put("data/part.txt", b"data")
    done = job.run(job.agent(data_mode="stream"))
    assert done.returncode == 0
    assert "The data set has changed while it was read: 1 file, 0.0 MB at the" in done.stdout


def test_no_data_to_read_is_told_before_the_boot_file_starts(job: Bucket) -> None:
    done = job.run(job.agent(data_url=job.url("gone"), data_mode="stream"))
    assert done.returncode == 1
    assert f"dlstack:dataDir has no files: '{job.url('gone')}' is empty." in done.stderr


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
            assert agent.communicate(timeout=110)[1] == ""
    manifests = [json.loads(job.get(f"models/toy/{n}/manifest.json")) for n in (1, 2)]
    assert {manifest["run_hash"] for manifest in manifests} == {"1" * 64, "2" * 64}


def test_two_pods_of_one_run_publish_one_version(job: Bucket, tmp_path: Path) -> None:
    """Kubernetes starts another pod for one whose node is cut off, which may go on."""
    boot(
        job,
        """
hold = pathlib.Path(flags["hold"])
print("holding", flush=True)
while not hold.exists():
    time.sleep(0.02)
finish(0.9)
""",
    )
    cut_off = job.start(job.agent(f"--hold={tmp_path / 'healed'}"))
    read_until(cut_off, "holding")
    (tmp_path / "now").touch()
    assert job.run(job.agent(f"--hold={tmp_path / 'now'}")).returncode == 0
    (tmp_path / "healed").touch()
    with cut_off:
        output, _ = cut_off.communicate(timeout=110)
    assert cut_off.returncode == 0
    assert "Another pod of this run has published its model meanwhile" in output
    assert [key for key in job.listing() if key.endswith("manifest.json")] == [
        "models/toy/1/manifest.json"
    ]


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
        (
            "finish(1); os.rename(output / 'model', output / 'export')",
            "There is a SavedModel in 'export' of --train_url: let it write that to the folder "
            "'model'",
        ),
        (
            "finish(1); os.rename(output / 'model', 'model')",
            "There is a SavedModel in 'model' of the code folder, where relative paths begin",
        ),
        (
            "finish(1); os.rename(output / 'model/saved_model.pb', output / 'my.keras')",
            "There is 'my.keras' in --train_url: only Keras reads that, no server does. Let it "
            "call model.export('<train_url>/model')",
        ),
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


def test_what_ignores_sigterm_is_killed_in_time_and_what_it_wrote_is_kept(
    job: Bucket, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    ignore = "signal.signal(signal.SIGTERM, lambda *_: print('told to end'))\n"
    boot(
        job,
        f"pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\n{ignore}{WAIT_FOR_EVER}",
    )
    agent = job.agent(work_dir=str(tmp_path / "work"), grace_seconds="30")
    with job.start(agent) as process:
        read_until(process, "waiting")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = process.wait(100)
        seconds = time.monotonic() - began

    assert status == 143
    # The boot file has 60 % of it.
    assert 18 <= seconds < 30
    await_gone(pid_file)
    assert list((tmp_path / "work").iterdir()) == []
    assert "told to end" in job.get("runs/1/log.txt").decode()
    assert job.get("runs/1/events.out.tfevents.1") == b"first"


SAVES_AT_THE_END = """
import threading
def save(*_):
    time.sleep(1)
    (output / "checkpoints").mkdir()
    (output / "checkpoints" / "last").write_bytes(b"saved" * 2**20)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("waiting")
time.sleep(600)
"""


def test_a_boot_file_that_saves_on_sigterm_has_the_time_and_the_upload_too(job: Bucket) -> None:
    """Symptom otherwise: half a second, and checkpoints of gigabytes are lost on spot nodes."""
    boot(job, SAVES_AT_THE_END)
    with job.start(job.agent(grace_seconds="600")) as process:
        read_until(process, "waiting")
        process.send_signal(signal.SIGTERM)
        # It is over when it is over, not at the end of the grace.
        assert process.wait(100) == 143
    assert job.get("runs/1/checkpoints/last") == b"saved" * 2**20


def test_what_ends_at_once_ends_at_once(job: Bucket) -> None:
    boot(job, WAIT_FOR_EVER)
    with job.start(job.agent(grace_seconds="3600")) as process:
        read_until(process, "waiting")
        process.send_signal(signal.SIGTERM)
        assert process.wait(100) == 143


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_the_boot_file_and_twice_it_does_so_at_once(
    job: Bucket, tmp_path: Path, times: int
) -> None:
    """Symptom otherwise: it goes on without an agent, in a folder that is gone."""
    pid_file = tmp_path / "pid"
    ignore = "signal.signal(signal.SIGTERM, lambda *_: print('told to end'))\n" * (times > 1)
    boot(
        job,
        f"pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\n{ignore}{WAIT_FOR_EVER}",
    )
    with job.start(job.agent(grace_seconds="600")) as process:
        read_until(process, "waiting")
        process.send_signal(signal.SIGINT)
        if times > 1:
            read_until(process, "told to end")
            process.send_signal(signal.SIGINT)
        assert process.wait(100) == 130
    await_gone(pid_file)


def test_the_log_outlives_a_boot_file_that_empties_its_output(job: Bucket) -> None:
    boot(
        job,
        "import shutil\nprint('before')\nshutil.rmtree(output); output.mkdir()\nprint('after')\n"
        "time.sleep(3)\nfinish(0.9)",
    )
    done = job.run(job.agent())
    assert done.returncode == 0
    require_log(job, done.stdout)
    assert "before\nafter\n" in done.stdout


def test_what_is_worse_than_what_serves_when_it_is_to_be_published_is_refused(
    job: Bucket, tmp_path: Path
) -> None:
    """What serves is asked for when the training is over: a roll-out meanwhile replaces no Job."""
    bar = {"max_decrease": "accuracy:0.05", "served": str(tmp_path)}
    first = job.run(job.agent(**bar))
    assert first.returncode == 0
    assert "Nothing of this model serves yet: dlstack:maxRegression has no measure" in first.stdout

    boot(
        job,
        f"served = pathlib.Path({str(tmp_path)!r})\n"
        "(served / 'model').write_text('toy')\n(served / 'version').write_text('1')\n"
        "finish(0.8)",
    )
    worse = job.run(job.agent(**bar, run_hash="b" * 64, train_url=job.url("runs/2")))
    assert worse.returncode == 1
    assert "Accuracy 0.8 is worse by 0.1 than the 0.9 of version 1, which serves" in worse.stderr
    assert not job.listing("models/toy/2/")

    boot(job, "finish(0.86)")
    slightly = job.run(job.agent(**bar, run_hash="c" * 64, train_url=job.url("runs/3")))
    assert slightly.returncode == 0
    assert "Accuracy 0.86, beside 0.9 of version 1, which serves" in slightly.stdout

    # One that serves and is gone from the bucket is no measure.
    (tmp_path / "version").write_text("7")
    boot(job, "finish(0.1)")
    gone = job.run(job.agent(**bar, run_hash="d" * 64, train_url=job.url("runs/4")))
    assert gone.returncode == 0
    assert "Version 7, which serves, can't be compared with" in gone.stdout


def test_a_bar_is_in_the_log_while_it_runs(job: Bucket) -> None:
    """Symptom otherwise: nothing for a whole epoch, then one line of megabytes."""
    boot(
        job,
        "print('Epoch 1/1')\n"
        "for n in range(10**9):\n"
        "    print(f'\\b\\b\\b\\b\\r{time.monotonic()}/1000', end='', flush=True)\n"
        "    time.sleep(0.01)\n",
    )
    with job.start(job.agent()) as process:
        read_until(process, "Epoch 1/1")
        assert process.stdout is not None
        # Seconds: of the bar, not of this process, which may come late to several lines.
        states = [float(process.stdout.readline().partition("/")[0]) for _ in range(5)]
        assert states == sorted(states) and states[-1] - states[0] > 1.5
        process.terminate()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a file system of its own")
def test_on_a_full_disk_the_boot_file_goes_on_and_its_output_is_passed_on(
    job: Bucket, tmp_path: Path
) -> None:
    """Symptom otherwise: nobody reads the pipe, and the job hangs until its time-out."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        boot(
            job,
            "try:\n    open('fill', 'wb').write(bytes(2**21))\nexcept OSError: pass\n"
            "for n in range(3000): print(n, 'x' * 90)\n"
            "os.remove('fill'); finish(0.9)",
        )
        done = job.run(job.agent(work_dir=str(disk)))
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.returncode == 0, done.stderr
    assert "\n2999 xxx" in done.stdout
    assert done.stdout.count("The kept log has a gap here: No space left on device.") == 1
    assert "Published version 1" in job.get("runs/1/log.txt").decode()


def test_variables_are_the_boot_files_alone_and_programs_may_be_run(job: Bucket) -> None:
    job.put("code/tools/hello.sh", b"#!/bin/sh\necho hello $TOKEN\n")
    boot(
        job,
        "import subprocess\nsubprocess.run(['tools/hello.sh'], check=True)\n"
        "print([name for name in os.environ if name.startswith('DLSTACK_BOOT_')])\nfinish(0.9)",
    )
    programs = json.dumps(["tools/hello.sh", "gone.sh"])
    done = job.run(job.agent(executables=programs), {"DLSTACK_BOOT_TOKEN": "secret"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nhello secret\n[]\n" in done.stdout
    for key in job.listing():
        assert b"secret" not in job.get(key) or key.endswith("log.txt"), key


@pytest.mark.parametrize("regular", [True, False])
def test_a_folder_named_as_ours_is_the_boot_files_own(job: Bucket, regular: bool) -> None:
    """Symptom otherwise: without an `__init__.py`, Python finds ours: No module 'training.mine'."""
    job.put("code/training/mine.py", b"WHOSE = 'mine'")
    if regular:
        job.put("code/training/__init__.py", b"")
    boot(job, "from training import mine\nprint(mine.WHOSE)\nfinish(0.9)")
    done = job.run(job.agent())
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nmine\n" in done.stdout


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
    # A store that is away is waited for by default, a minute.
    assert time.monotonic() - began < 45


def test_a_store_that_answers_some_seconds_after_the_start_is_waited_for(job: Bucket) -> None:
    with (
        Gate(job.store) as gate,
        job.start(job.agent(), {"AWS_ENDPOINT_URL_S3": gate.url}) as process,
    ):
        said = read_until(process, "Can't list")
        assert "can't be reached" in said
        assert "Trying again for " in said
        gate.open()
        output, errors = process.communicate(timeout=110)
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
    for modules, heavy in (
        ("training.agent.run, training.__main__", ("tensorflow", "keras", "numpy")),
        # TensorBoard's own messages bring numpy.
        ("training.board.event_mirror", ("tensorflow", "keras")),
    ):
        program = f"import sys, {modules}\nprint([name for name in {heavy} if name in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout == "[]\n"

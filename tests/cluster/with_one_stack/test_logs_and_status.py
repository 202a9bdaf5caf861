"""What a person sees of a run while it trains and afterwards: log, status, TensorBoard.

The tests build on each other and run in the order in which they stand here. Pods that come and go
are those of small Jobs like the stack's own, made by hand: a run that trains would take minutes
for each. Not covered: clusters whose nodes' clocks differ from this machine's.
"""

import json
import math
import os
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from infra.cluster import names
from local.home import REPOSITORY
from tests.serving.gateway.chromium import PROGRAM, Page, chromium
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

#: Writes a scalar now and then, and ends with a traceback of many lines.
BOOT = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from training.summaries import ScalarWriter

    def one(depth):
        another(depth - 1)

    def another(depth):
        if depth < 0:
            raise ValueError("the data set has no pictures of the digit 7")
        one(depth - 1)

    flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
    with ScalarWriter(Path(flags["train_url"])) as writer:
        for step in range(1, 9):
            writer.write(step, {"clock": float(step)})
            writer.flush()
            print(f"step {step}", flush=True)
            time.sleep(1.3)
    one(400)
    """
)


def infra(deployment, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m infra`; its output is shown when a test fails."""
    with started(deployment, *words) as process:
        output, errors = process.communicate(timeout=300)
    print(output, errors)
    return subprocess.CompletedProcess(words, process.returncode, output, errors)


@contextmanager
def started(deployment, *words: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "infra", *words],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@dataclass
class GoingUp:
    """A `pulumi up` that goes on meanwhile."""

    process: "subprocess.Popen[str]"
    log: Path

    def finish(self) -> tuple[int, str]:
        """Return its exit status and what it printed, which is shown when a test fails."""
        status = self.process.wait(300)
        print(self.log.read_text())
        return status, self.log.read_text()


@contextmanager
def going_up(deployment, folder: Path) -> Iterator[GoingUp]:
    with (folder / "up.log").open("w") as log:
        process = deployment.start_pulumi("up", "--yes", "--skip-preview", output=log)
    try:
        yield GoingUp(process, folder / "up.log")
    finally:
        process.wait(300)


def await_job(deployment, before: list[str]) -> None:
    """Return when the namespace has a Job that was not there before."""
    eventually(lambda: set(deployment.names("jobs")) - set(before), 300)


def get(url: str) -> object:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def runs_of(url: str, hashes: list[str], tag: str) -> list[str]:
    """What TensorBoard calls the runs of which it has such scalars.

    That is `2026-03-01 10:00Z mnist 5a1dcb epochs=3`, and for parts of a run more after a slash.
    """
    digits = {one[:6] for one in hashes}
    return [
        name
        for name, tags in get(f"{url}/data/plugin/scalars/tags").items()
        if tag in tags and "/" not in name and digits & set(name.split()[3:4])
    ]


def points_of(url: str, run: str, tag: str) -> list[tuple[float, int, float]]:
    """What TensorBoard has of a run's scalar now: when each was written, its step, its value.

    A run's name says how it ended, so one that was listed a moment ago may have another name now.
    Then nothing is found, and the next look has it.
    """
    found = []
    for name in runs_of(url, [run], tag):
        try:
            found += get(f"{url}/data/plugin/scalars/scalars?run={quote(name)}&tag={tag}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
    return found


def test_a_stack_that_is_not_deployed_is_told_in_one_line(deployment):
    for words in (["status"], ["logs"], ["logs", "-f"], ["runs"]):
        done = infra(deployment, *words)
        assert done.returncode == 1
        assert done.stdout == ""
        told = f"error: The stack 'dlstack-{deployment.name}' is not deployed"
        assert done.stderr.startswith(told)
        assert done.stderr.count("\n") == 1


def test_a_first_run_is_followed_while_pulumi_up_waits_for_it(deployment, tmp_path):
    deployment.configure("runParameters.model=softmax")
    with going_up(deployment, tmp_path) as up:
        # The namespace first.
        there = ("get", "namespace", deployment.namespace)
        eventually(lambda: deployment.kubectl(*there).returncode == 0, 300)
        await_job(deployment, [])
        with started(deployment, "logs", "-f") as logs:
            assert logs.stdout is not None
            first = logs.stdout.readline()
            # What is on the way is not in Pulumi's outputs yet.
            assert up.process.poll() is None
            status = json.loads(infra(deployment, "status", "--json").stdout)
            rest, errors = logs.communicate(timeout=300)
            assert logs.returncode == 0, errors
        status_of_up, output = up.finish()
        assert status_of_up == 0
    assert first.startswith("Fetched code and data")
    assert "Published version 1" in rest.splitlines()[-1]
    assert " succeeded after " in errors
    assert status["job"]["state"] in ("running", "succeeded")
    assert status["services"]["tensorboard"] is not None
    assert "tensorboard" in status["addresses"]
    assert "python -m infra logs -f" in output


def test_status_tells_job_versions_and_addresses(deployment):
    outputs = deployment.outputs()

    def once_ended() -> dict:
        """The status when the Job runs no more: `up` has waited for its version only."""
        status = json.loads(infra(deployment, "status", "--json").stdout)
        return {} if status["job"]["state"] == "running" else status

    status = eventually(once_ended, 120)
    assert status["job"]["state"] == "succeeded"
    assert status["job"]["runHash"] == outputs["runHash"]
    assert status["addresses"] == {
        "grpc": f"{outputs['host']}:{outputs['grpcPort']}",
        "rest": outputs["restUrl"],
        "page": outputs["pageUrl"],
        "tensorboard": outputs["tensorboardUrl"],
    }
    (version,) = status["versions"]
    assert version["version"] == 1 and version["served"]
    assert version["metrics"] == outputs["metrics"]
    assert {one["state"] for one in status["services"].values()} == {"ready"}

    done = infra(deployment, "status")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("succeeded", "serving", "served", "accuracy 0.8", outputs["pageUrl"]):
        assert str(word) in done.stdout


def test_of_several_versions_the_newest_is_served(deployment):
    deployment.configure("runParameters.learning_rate=0.1")
    assert deployment.up().returncode == 0
    status = json.loads(infra(deployment, "status", "--json").stdout)
    assert [one["served"] for one in status["versions"]] == [True, False]


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium")
def test_tensorboard_is_opened_on_a_port_of_this_machine(deployment):
    with started(deployment, "tensorboard", "--port=0") as board:
        try:
            url = board.stdout.readline().strip()
            assert url != deployment.outputs()["tensorboardUrl"]
            assert get(f"{url}/data/runs")
        finally:
            board.terminate()


def test_tensorboard_draws_the_scalars_of_several_runs(deployment, tmp_path):
    """The picture in docs/ is one of those that this test makes."""
    status = json.loads(infra(deployment, "status", "--json").stdout)
    shown = "^(accuracy|global_step/sec|learning_rate|loss)$"
    url = f"{deployment.outputs()['tensorboardUrl']}/?tagFilter={quote(shown)}#timeseries"
    picture = tmp_path / "tensorboard.png"
    with chromium(tmp_path / "profile", webgl=True) as page:
        page.send(
            "Emulation.setDeviceMetricsOverride",
            **dict(width=1280, height=1050, deviceScaleFactor=1, mobile=False),
        )
        hashes = [one["runHash"] for one in status["versions"]]
        until = time.monotonic() + 180
        while True:
            runs = runs_of(url.partition("/?")[0], hashes, "loss")
            if len(runs) == len(hashes):
                break
            assert time.monotonic() < until, runs
            time.sleep(0.2)
        page.open(url)
        page.wait_for("document.querySelectorAll('scalar-card').length === 4", 180)
        page.evaluate(
            "[...document.querySelectorAll('button')]"
            ".find(button => button.textContent.includes('Settings')).click()"
        )
        page.wait_for("!document.body.innerText.includes('Horizontal Axis')", 60)
        # In the table below the curves are the values of the last step. The cards are there before
        # what they show has been fetched.
        accuracies = [f"{one['metrics']['accuracy']:.4f}" for one in status["versions"]]
        for word in (*runs, *accuracies, "accuracy", "global_step", "learning_rate", "loss"):
            page.wait_for(f"document.body.innerText.includes({json.dumps(word)})", 120)
        until = time.monotonic() + 120
        while drawn(page, picture) < len(runs):
            assert time.monotonic() < until, "the curves are not drawn"
            time.sleep(0.5)
        time.sleep(1)
        page.screenshot(picture)
        assert page.complaints == []
    print(f"{picture}: {picture.stat().st_size} bytes")


def drawn(page: Page, picture: Path) -> int:
    """Return in how many of the runs' colours there is a curve in the first chart."""
    page.screenshot(picture)
    # A chart comes after its card, and a run's colour after its name.
    box = page.evaluate(
        "(() => { const box = document.querySelector('scalar-card canvas')"
        "?.getBoundingClientRect();"
        " return box ? [box.left, box.top, box.right, box.bottom] : []; })()"
    )
    colours = page.evaluate(
        "[...document.querySelectorAll('.run-color-swatch')]"
        ".map(swatch => swatch.style.backgroundColor.match(/[0-9]+/g))"
        ".filter(numbers => numbers).map(numbers => numbers.map(Number))"
    )
    if not box or box[0] >= box[2] or box[1] >= box[3]:
        return 0
    with Image.open(picture) as shown:
        pixels = shown.convert("RGB").crop([round(edge) for edge in box]).getcolors(1 << 20)
    assert pixels is not None
    found = [
        sum(count for count, colour in pixels if math.dist(colour, wanted) < 30)
        for wanted in colours
    ]
    print(found)
    # The single point of an evaluation is smaller.
    return sum(count > 150 for count in found)


def test_the_log_outlives_the_pod(deployment):
    before = infra(deployment, "logs").stdout
    assert "Published version 2" in before
    deleted = deployment.kubectl("delete", "pod", "--selector=app.kubernetes.io/name=training")
    assert "deleted" in deleted.stdout
    assert infra(deployment, "logs").stdout == before
    followed = infra(deployment, "logs", "--follow")
    assert (followed.returncode, followed.stdout) == (0, before)
    run = json.loads(infra(deployment, "runs", "--json").stdout)["runs"][0]
    assert run["version"] == 2
    assert infra(deployment, "logs", "--run", run["run"][:6]).stdout == before
    assert (
        "fits no run. These runs are known, the newest first: "
        in infra(deployment, "logs", "--run", "zz").stderr
    )


def job(deployment, name: str, run: str, script: str, **spec: object) -> dict:
    """A Job like the stack's own, with another command."""
    pattern = deployment.items("jobs")[0]["spec"]["template"]
    (container,) = pattern["spec"]["containers"]
    container |= {"command": ["sh", "-c", script], "name": names.TRAINING}
    metadata = {"annotations": {names.RUN_HASH_ANNOTATION: run}}
    template = {"metadata": metadata, "spec": pattern["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": deployment.namespace},
        "spec": {"template": template, **spec},
    }


@contextmanager
def created(deployment, document: Mapping[str, object]) -> Iterator[str]:
    name = document["metadata"]["name"]
    done = deployment.kubectl("create", "--filename=-", given=json.dumps(document))
    assert done.returncode == 0, done.stderr
    try:
        yield name
    finally:
        deployment.kubectl("delete", "job", name)


def test_following_goes_on_over_a_pod_that_is_replaced(deployment):
    # Longer than it takes until the first pod is told to end, on a machine that has much to do.
    script = (
        "echo begun on $HOSTNAME; i=0; while [ $i -lt 40 ]; do i=$((i+1)); sleep 0.5; "
        "echo $HOSTNAME line $i; done"
    )
    one = job(deployment, "replaced", "1" * 64, script, backoffLimit=3)
    with created(deployment, one) as name, started(deployment, "logs", "-f") as logs:
        assert logs.stdout is not None
        first = logs.stdout.readline().split()[-1]
        assert logs.stdout.readline().startswith(f"{first} line 1")
        deployment.kubectl("delete", "pod", first, "--wait=false")
        output, errors = logs.communicate(timeout=300)
    assert logs.returncode == 0, errors
    lines = [line for line in output.splitlines() if not line.startswith(first)]
    second = lines[0].split()[-1]
    assert second != first
    assert lines == [f"begun on {second}", *(f"{second} line {i}" for i in range(1, 41))]
    assert f"The Job '{name}' succeeded" in errors


def test_each_worker_has_a_log_of_its_own(deployment):
    spec = {"completions": 2, "parallelism": 2, "completionMode": "Indexed"}
    # When worker 1 fails, all pods of the Job are told to end: not before the other one has said
    # all, whichever was started first.
    script = (
        "echo worker $JOB_COMPLETION_INDEX; "
        "while [ $JOB_COMPLETION_INDEX = 1 ] && [ ! -e /tmp/go ]; do sleep 0.2; done; "
        "echo end; exit $JOB_COMPLETION_INDEX"
    )
    one = job(deployment, "workers", "2" * 64, script, backoffLimit=0, **spec)
    with created(deployment, one) as name:

        def let_go() -> bool:
            """Have worker 1 go on, if it has begun."""
            words = f"--selector=batch.kubernetes.io/job-name={name}"
            return any(
                deployment.kubectl("exec", pod, "--", "touch", "/tmp/go").returncode == 0
                for pod in deployment.names("pods", words)
                if pod.startswith(f"{name}-1-")
            )

        with started(deployment, "logs", "-f", "--worker=0") as logs:
            assert logs.stdout is not None
            said = [logs.stdout.readline() for _ in range(2)]
            eventually(let_go, 120)
            rest, errors = logs.communicate(timeout=300)
        assert "".join([*said, rest]).splitlines() == ["worker 0", "end"]
        # The Job's end counts, not the worker's.
        assert logs.returncode == 1, errors
        done = infra(deployment, "logs", "-f", "--worker=1")
        assert done.stdout.splitlines() == ["worker 1", "end"]
        assert done.returncode == 1
        assert "failed" in done.stderr and "exit status 1: end" in done.stderr
        beyond = infra(deployment, "logs", "--worker=2")
        assert beyond.returncode == 1
        assert (
            "--worker 2: the run 222222222222 has no such worker. Its last one is number 1."
            in beyond.stderr
        )


def test_tensorboard_shows_a_scalar_soon_and_a_failure_its_last_words(deployment, tmp_path):
    """Latencies by the clock in the event file: of the pod, which has this machine's."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "boot.py").write_text(BOOT)
    deployment.configure(f"codeDir={code}", "bootFile=boot.py", "runParameters={}")
    url = deployment.outputs()["tensorboardUrl"]
    before = deployment.names("jobs")
    seen: dict[int, float] = {}
    with going_up(deployment, tmp_path) as up:
        await_job(deployment, before)
        status = json.loads(infra(deployment, "status", "--json").stdout)
        run = status["job"]["runHash"]
        until = time.monotonic() + 300
        while 8 not in seen and time.monotonic() < until:
            for written, step, _ in points_of(url, run, "clock"):
                seen.setdefault(step, time.time() - written)
            time.sleep(0.1)
        status_of_up, output = up.finish()
    print({step: round(seconds, 1) for step, seconds in seen.items()})
    assert sorted(seen) == list(range(1, 9))
    # Less than 10, on a machine that has nothing else to do; a part on the way that waited for a
    # minute would show.
    assert max(seen.values()) <= 45

    assert status_of_up != 0
    for words in (
        "ValueError: the data set has no pictures of the digit 7",
        "boot file 'boot.py' exited with status 1",
        "python -m infra logs",
    ):
        assert words in output
    followed = infra(deployment, "logs", "-f")
    assert followed.returncode == 1
    assert "step 1\n" in followed.stdout and followed.stdout.count("in another") > 100
    assert "exit status 1: ValueError: the data set has no pictures" in followed.stderr
    job_now = json.loads(infra(deployment, "status", "--json").stdout)["job"]
    assert job_now["state"] == "failed"
    assert "no pictures of the digit 7" in job_now["reason"]


def test_idle_it_lists_the_store_once_in_five_seconds(deployment):
    pods = deployment.kubectl(
        *("get", "pods", "--output", "name"),
        "--selector=app.kubernetes.io/name=object-store",
    ).stdout.split()
    with subprocess.Popen(
        ["kubectl", "port-forward", f"--namespace={deployment.namespace}", pods[0], ":9327"],
        env={**os.environ, **deployment.variables},
        stdout=subprocess.PIPE,
        text=True,
    ) as forward:
        try:
            assert forward.stdout is not None
            port = forward.stdout.readline().split("->")[0].rpartition(":")[2].strip()

            def calls() -> dict[str, float]:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    lines = answer.read().decode().splitlines()
                return {
                    line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                    for line in lines
                    if line.startswith("SeaweedFS_s3_request_total{")
                }

            def until_three_lists() -> tuple[dict[str, float], float]:
                """The requests until three more lists were made, and after how many seconds."""
                began, first = time.monotonic(), calls()

                def made() -> dict[str, float]:
                    more = {name: count - first.get(name, 0) for name, count in calls().items()}
                    more = {name: count for name, count in more.items() if count}
                    lists = sum(count for name, count in more.items() if 'type="LIST"' in name)
                    return more if lists >= 3 else {}

                return eventually(made, 120), time.monotonic() - began

            def is_idle() -> bool:
                made, _ = until_three_lists()
                print(made)
                return all('type="LIST"' in name for name in made)

            # The last run's files may still be on their way.
            eventually(is_idle, 120)
            made, took = until_three_lists()
        finally:
            forward.kill()
    print(took, made)
    assert all('type="LIST"' in name for name in made)
    assert sum(made.values()) <= 1 + took / 5

"""What Prometheus sees of a run, asked of the agent while a boot file runs."""

import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_port
from tests.training.agent.test_run import PROLOGUE, boot
from tests.training.conftest import RUN_HASH, Bucket, read_until
from tests.waiting import eventually
from training.agent import metrics_page
from training.agent.metrics_page import page
from training.agent.run_record import RunRecord, nowhere

FACTS = {"run_hash": RUN_HASH, "model_name": "toy", "attempt": 2, "nodes": 1}


@pytest.fixture
def job(bucket: Bucket) -> Bucket:
    """A bucket with data and a boot file that leaves a model of accuracy 0.9."""
    bucket.put("data/part.txt", b"data")
    bucket.put("code/boot.py", (PROLOGUE + "finish(0.9)").encode())
    return bucket


def samples(text: str) -> dict[str, tuple[dict[str, str], float]]:
    """Name, without the prefix, to labels and value of its last sample."""
    return {
        sample.name.removeprefix("dlstack_training_"): (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def asked(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return str(answer.read().decode())


def test_a_run_says_how_far_it_is(job: Bucket) -> None:
    boot(job, "print('Step 3 of 10', flush=True)\nprint('waiting', flush=True)\ntime.sleep(600)")
    port = free_port()
    with job.start(job.agent(metrics_port=str(port), attempt="2")) as process:
        read_until(process, "waiting")
        found = eventually(lambda: (s := samples(asked(port))).get("progress") and s)
        assert found["progress"] == (
            {"model_name": "toy", "run": "abababababab", "worker": "0", "unit": "steps"},
            3,
        )
        assert found["progress_goal"][1] == 10
        assert found["info"][0]["attempt"] == "2"
        assert found["phase_seconds"][0]["phase"] == "fetch"
        assert "model_metric" not in found
        with pytest.raises(urllib.error.HTTPError, match="404"):
            asked(port, "/")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_a_port_that_is_taken_is_no_reason_to_fail(job: Bucket) -> None:
    taken = job.store.endpoint.rpartition(":")[2]
    done = job.run(job.agent(metrics_port=taken))
    assert done.returncode == 0, done.stderr
    assert f"Prometheus gets no numbers: port {taken} can't be used" in done.stdout


def test_a_record_s_numbers_and_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    record = RunRecord(nowhere, None, FACTS | {"model_name": 'a"b\\c\nd'})
    record.phase("train", 1.5)
    record.measured({"accuracy": 0.9, "loss": float("nan")})
    found = samples(page(record.now(), worker=3))
    labels, value = found["model_metric"]
    assert (labels["model_name"], labels["worker"], labels["metric"]) == ('a"b\\c\nd', "3", "loss")
    assert value != value
    assert found["phase_seconds"][1] == 1.5


def test_who_sends_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom otherwise: any pod of the cluster can fill the process with threads that wait."""
    monkeypatch.setattr(metrics_page, "CLIENT_SECONDS", 0.1)
    port = free_port()
    metrics_page.serve(port, dict, worker=0)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        assert client.recv(1) == b""

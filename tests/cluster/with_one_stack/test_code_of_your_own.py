"""Another code folder and data set, which have nothing of MNIST's, by configuration alone."""

import json
import os
import subprocess
import sys

import pytest

from local.home import REPOSITORY

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("messages")
    words = [sys.executable, "-m", "training.datasets.generate_messages", f"--target_dir={folder}"]
    subprocess.run(words, cwd=REPOSITORY, check=True)
    return folder


def test_texts_are_classified_by_the_same_program(deployment, messages):
    deployment.configure(
        "codeDir=training/text",
        "bootFile=train_text.py",
        "modelName=messages",
        f"dataDir={messages}",
    )
    assert deployment.up().returncode == 0
    outputs = deployment.outputs()
    assert outputs["modelName"] == "messages"
    assert outputs["metrics"]["accuracy"] > 0.8
    held_out = [json.loads(line) for line in (messages / "test.jsonl").read_text().splitlines()]
    asked = held_out[:: len(held_out) // 20][:20]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "client", "predict", "--json", "--output=labels"),
            *(word for message in asked for word in ("--text", message["text"])),
        ],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = [answer["prediction"] for answer in json.loads(done.stdout)["predictions"]]
    right = sum(answer == message["label"] for answer, message in zip(answers, asked, strict=True))
    assert right >= 15, list(zip(answers, asked, strict=True))

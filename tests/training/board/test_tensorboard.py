"""A run's folder in the bucket, by way of the mirror, in a real TensorBoard, plugin by plugin.

The profiler's plugin is not installed: its files are only looked for where it reads them.
"""

import io
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infra.components.tensorboard import _SERVE
from store.client import from_environment
from store.urls import S3Url
from tests.ports import free_port
from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket
from training.board.event_mirror import EventMirror
from training.confusion import write_confusion
from training.mirror.upload_mirror import UploadMirror
from training.summaries import ScalarWriter, write_pictures, write_text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

Ask = Callable[..., Any]
GOOD, BAD = "a" * 12, "b" * 12
GOOD_NAME = "2026-03-01 10:00Z mnist aaaaaa epochs=3, rate=0.1"
BAD_NAME = "2026-03-01 11:00Z houses bbbbbb rate=fast (failed)"


def record(run: str, hour: int, state: str, model: str, **more: Any) -> bytes:
    document = {
        "format": 1,
        "run_hash": run[0] * 64,
        "model_name": model,
        "parameters": {"rate": "fast"},
        "started": f"2026-03-01T{hour}:00:00+00:00",
        "state": state,
        **({} if state == "running" else {"ended": f"2026-03-01T{hour}:05:00+00:00"}),
        **more,
    }
    return json.dumps(document).encode()


def leave(folder: Path) -> None:
    """What a boot file leaves that uses each plugin."""
    with ScalarWriter(folder) as writer:
        for step in range(1, 4):
            writer.write(step, {"loss": 1 / step})
    write_pictures(folder, "grey", np.zeros([2, 8, 8]))
    write_text(folder, "notes", "two *words*")
    write_confusion(folder, [0, 0, 1, 1], [0, 1, 1, 1], ["cat", "dog"], step=3)
    (folder / "tensors.tsv").write_text("1\t2\n3\t4\n5\t6\n")
    (folder / "metadata.tsv").write_text("one\ntwo\nthree\n")
    (folder / "projector_config.pbtxt").write_text(
        'embeddings {\n  tensor_name: "words"\n  tensor_path: "tensors.tsv"\n'
        f'  metadata_path: "{folder}/metadata.tsv"\n}}\n'
    )
    profile = folder / "plugins" / "profile" / "2026_03_01"
    profile.mkdir(parents=True)
    (profile / "host.xplane.pb").write_bytes(b"profile")


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """GET or POST at a TensorBoard over `tmp_path/logs`, started as in the cluster."""
    port = free_port()
    flags = ["--logdir", str(tmp_path / "logs"), f"--port={port}", "--reload_interval=1"]
    (tmp_path / "logs").mkdir()
    board = subprocess.Popen(
        [sys.executable, "-c", _SERVE, *flags, "--host=127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def call(path: str, body: Any = None, **query: str) -> Any:
        url = f"http://127.0.0.1:{port}/data/{path}?{urllib.parse.urlencode(query)}"
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            content = answer.read()
        try:
            return json.loads(content)
        except ValueError:
            return content

    try:
        yield call
    finally:
        board.kill()
        board.wait()


def until(found: Callable[[], Any]) -> Any:
    """Return what is found, when it is something.

    TensorBoard reads files one after the other, and answers meanwhile with what it has read.
    """
    deadline = time.monotonic() + 100
    while True:
        try:
            if answer := found():
                return answer
        except OSError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline
        time.sleep(0.1)


def sessions(ask: Ask) -> dict[str, Any]:
    states = ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"]
    told = ask("plugin/hparams/session_groups", {"startIndex": 0, "sliceSize": 9,
        "allowedStatuses": states, "colParams": []})  # fmt: skip
    return {group["name"]: group for group in told["sessionGroups"]}


def test_each_plugin_shows_what_a_run_left(
    bucket: Bucket, environment: SeaweedFS, ask: Ask, tmp_path: Path
) -> None:
    client = from_environment()
    folder = tmp_path / "train"
    folder.mkdir()
    leave(folder)
    # As the agent does, and as TensorBoard's sidecar does.
    upload = UploadMirror(client, folder, S3Url(bucket.name, f"runs/{GOOD}"))
    upload.start()
    upload.finish()
    given = {"rate": "0.1", "epochs": "3"}
    bucket.put(f"runs/{GOOD}/run.json", record(GOOD, 10, "running", "mnist", parameters=given))
    bucket.put(f"runs/{BAD}/run.json", record(BAD, 11, "failed", "houses"))
    mirror = EventMirror(client, S3Url(bucket.name, "runs"), tmp_path / "logs")
    mirror.refresh()

    until(lambda: set(ask("runs")) == {GOOD_NAME, BAD_NAME, f"{GOOD_NAME}/evaluation"})
    scalars = partial(ask, "plugin/scalars/scalars")
    curve = until(lambda: len(all_ := scalars(run=GOOD_NAME, tag="loss")) == 3 and all_)
    assert [round(value, 3) for _, _, value in curve] == [1, 0.5, 0.333]
    evaluation = {"run": f"{GOOD_NAME}/evaluation"}
    right = until(lambda: scalars(tag="class_accuracy/cat", **evaluation))
    assert right[0][1:] == [3, 0.5]

    def picture(sample: str, **where: str) -> Any:
        shown = until(lambda: ask("plugin/images/images", sample=sample, **where))
        query = urllib.parse.parse_qs(shown[0]["query"])
        return ask("plugin/images/individualImage", **{key: one[0] for key, one in query.items()})

    for sample in "01":
        content = picture(sample, run=GOOD_NAME, tag="grey")
        assert Image.open(io.BytesIO(content)).size == (8, 8)
    matrix = Image.open(io.BytesIO(picture("0", tag="confusion_matrix", **evaluation)))
    assert matrix.size == (480, 480)
    texts = partial(ask, "plugin/text/text")
    notes = until(lambda: texts(run=GOOD_NAME, tag="notes"))
    assert "<em>words</em>" in notes[0]["text"]
    numbers = until(lambda: texts(tag="confusion_matrix_numbers", **evaluation))
    assert "<td>1</td>" in numbers[0]["text"]

    def told() -> Any:
        groups = sessions(ask)
        ended = [one["sessions"][0].get("status") for one in groups.values()]
        return groups if len(groups) == 2 and "STATUS_FAILURE" in ended else None

    found = until(told)
    assert found[GOOD]["hparams"] == {"rate": 0.1, "epochs": 3, "model_name": "mnist"}
    assert found[BAD]["hparams"] == {"rate": "fast", "model_name": "houses"}
    assert found[BAD]["sessions"][0]["status"] == "STATUS_FAILURE"

    projected = until(lambda: ask("plugin/projector/runs"))
    assert projected == [GOOD_NAME]
    info = ask("plugin/projector/info", run=GOOD_NAME)["embeddings"][0]
    assert (info["tensorName"], info["tensorShape"]) == ("words", [3, 2])
    words = ask("plugin/projector/metadata", run=GOOD_NAME, name="words")
    assert words == b"one\ntwo\nthree\n"
    assert (tmp_path / "logs" / GOOD_NAME / "plugins/profile/2026_03_01/host.xplane.pb").exists()

    # It ends, and its metrics are there, in the same run.
    metrics = {"accuracy": 0.75}
    bucket.put(
        f"runs/{GOOD}/run.json",
        record(GOOD, 10, "succeeded", "mnist", parameters=given, metrics=metrics),
    )
    mirror.refresh()
    until(lambda: sessions(ask)[GOOD]["sessions"][0].get("status") == "STATUS_SUCCESS")
    values = sessions(ask)[GOOD]["metricValues"]
    assert ["metrics/accuracy", 0.75] in [[one["name"]["tag"], one["value"]] for one in values]
    assert set(ask("runs")) == {GOOD_NAME, BAD_NAME, f"{GOOD_NAME}/evaluation"}

    # The failed one goes on.
    bucket.put(f"runs/{BAD}/run.json", record(BAD, 11, "running", "houses"))
    mirror.refresh()
    until(lambda: BAD_NAME.removesuffix(" (failed)") in ask("runs"))
    until(lambda: BAD_NAME not in ask("runs"))

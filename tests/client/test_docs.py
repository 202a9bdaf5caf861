"""docs/client.md, block by block, against a real server: the worked example, curl, grpcurl."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format
from PIL import Image

import client
from client._command import cli
from client._transports.messages import PredictRequest, PredictResponse
from tests.serving_fixtures import ModelServer

from .conftest import digit

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text(encoding="utf-8")

#: A block of Python, and the block of what it prints if one follows.
_BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", re.DOTALL)


def test_the_example_runs_and_prints_what_it_says(
    mnist: ModelServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = _BLOCK.findall(DOCS)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for code, printed in blocks:
        exec(code.replace("31670", str(mnist.grpc_port)), names)
        assert capsys.readouterr().out == printed, code


@pytest.fixture
def shell_block(tmp_path: Path) -> Callable[..., str]:
    """Run the shell block that has a word, with lines replaced, beside a picture of a three."""
    Image.fromarray(np.uint8(digit(3) * 255).reshape(28, 28)).save(tmp_path / "3.png")

    def run(word: str, *replaced: tuple[str, str]) -> str:
        (block,) = [
            block for block in re.findall(r"```sh\n(.*?)```", DOCS, re.DOTALL) if word in block
        ]
        for old, new in replaced:
            assert old in block
            block = block.replace(old, new)
        done = subprocess.run(
            ["bash", "-euc", block],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_curl_is_answered_as_it_says(mnist: ModelServer, shell_block: Callable[..., str]) -> None:
    out = shell_block("curl -sS", ("http://127.0.0.1:8501", mnist.rest_url))
    answers, rest = [], out
    while rest := rest.lstrip():
        answer, end = json.JSONDecoder().raw_decode(rest)
        answers.append(answer)
        rest = rest[end:]
    status, metadata, predictions = answers
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    assert "image_bytes" in metadata["metadata"]["signature_def"]["signature_def"]
    (prediction,) = predictions["predictions"]
    assert prediction["predictions"] == 3
    assert len(prediction["probabilities"]) == 10


def test_what_grpcurl_sends_is_a_request_that_is_answered(
    mnist: ModelServer, shell_block: Callable[..., str]
) -> None:
    """grpcurl itself makes the message from the JSON as protobuf does here."""
    command = "grpcurl -plaintext -d @ $GRPC tensorflow.serving.PredictionService/Predict"
    request = json_format.Parse(shell_block("grpcurl", (command, "cat")), PredictRequest())
    predict = mnist.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=PredictRequest.SerializeToString,
        response_deserializer=PredictResponse.FromString,
    )
    response = predict(request, timeout=60)
    assert list(response.outputs["predictions"].int64_val) == [3]


def test_the_commands_are_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = set(re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE))
    assert set(re.findall(r"^python -m client (\w+)", DOCS, re.MULTILINE)) == listed


def test_the_flags_are_some_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    known = {"--help"}
    for command in ("predict", "bench"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    told = DOCS.partition("## Command")[2].partition("## Any other client")[0]
    assert set(re.findall(r"(?<=[`\s])--[a-z-]+", told)) <= known


def test_every_module_is_in_the_table_of_the_folder() -> None:
    table = DOCS.partition("## The folder")[2].partition("\n\nSlow imports")[0]
    folder = Path(client.__file__).parent
    modules = {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in folder.rglob("*.py")
        if not path.stem.startswith("__")
    }
    assert set(re.findall(r"`([\w.]+)`", table)) == modules


def test_the_errors_are_those_there_are() -> None:
    kinds = {
        name
        for name in client.__all__
        if isinstance(getattr(client, name), type) and issubclass(getattr(client, name), Exception)
    }
    table = DOCS.partition("| error | means |")[2].partition("\n## ")[0]
    named = set(
        re.findall(r"`(\w+)`", "".join(row.split("|")[0] for row in table.split("\n|")[2:]))
    )
    assert named == kinds - {"PredictionError", "PredictionWarning"}

"""The command: what is printed where, and exit statuses. As a process it is in test_process.py."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client._command import cli
from tests.serving_fixtures import ModelServer

from ..conftest import digit, port_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No DLSTACK_ variable and no Pulumi project around the test."""
    for name in list(os.environ):
        if name.startswith("DLSTACK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(
    mnist: ModelServer, transport: str, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command against the MNIST-like model: exit status, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        server = ["--host=127.0.0.1", f"--transport={transport}"]
        given = [str(argument) for argument in arguments]
        if not any(argument.startswith("--port") for argument in given):
            server.append(f"--port={port_of(mnist, transport)}")
        if not any(argument.startswith("--model") for argument in given):
            server.append("--model=mnist")
        status = cli.main([given[0], *server, *given[1:]])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with pictures of 3, 5, and 8."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in (3, 5, 8):
        pixels = np.uint8(digit(k) * 255).reshape(28, 28)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def test_predict_prints_the_answer_of_each_picture(run: Run, pictures: Path) -> None:
    status, out, err = run("predict", pictures / "5.png", pictures)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"{pictures}/5.png: 5 99.70%",
        f"{pictures}/3.png: 3 99.70%",
        f"{pictures}/5.png: 5 99.70%",
        f"{pictures}/8.png: 8 99.70%",
    ]


def test_what_is_guessed_of_pixels_is_said_once(run: Run, pictures: Path) -> None:
    status, out, err = run("predict", pictures, "--signature=serving_default")
    assert (status, len(out.splitlines())) == (0, 3)
    assert err == (
        "Pixels go to input 'images' (28x28 grey float32) as 0..1: the model does not say which "
        "range it was trained on. If it was another, say it, as in --scale 0..255 or "
        "--scale=-1..1.\n"
    )
    assert run("predict", pictures, "--signature=serving_default", "--scale=0..1") == (0, out, "")
    _, other, err = run("predict", pictures, "--signature=serving_default", "--scale=-1..1")
    assert (other == out, err) == (False, "")


def test_dark_on_light_pixels_are_said_once_and_inverted_on_order(run: Run, tmp_path: Path) -> None:
    for k in (1, 2):
        pixels = 255 - np.uint8(digit(k) * 255).reshape(28, 28)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    arguments = ["predict", tmp_path, "--signature=serving_default", "--scale=0..1"]
    status, _, err = run(*arguments)
    assert (status, err.count("\n")) == (0, 1)
    assert "1.png' is dark on light, and goes so." in err
    status, out, err = run(*arguments, "--invert=yes")
    assert (status, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()] == ["1", "2"]


def test_top_shows_the_surest_classes(run: Run, pictures: Path) -> None:
    status, out, _ = run("predict", pictures / "3.png", "--top=2")
    assert status == 0
    assert out == f"{pictures}/3.png: 3 99.70%, 0 0.03%\n"


def test_top_of_a_signature_without_numbers_fails(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", digit(3))
    arguments = ["predict", tmp_path / "a.npy", "--top=2", "--signature=predict_object"]
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert "The signature gives no output 'probabilities'" in err


def test_a_folder_of_more_pictures_than_a_request_takes(run: Run, tmp_path: Path) -> None:
    for index in range(10):
        pixels = np.uint8(digit(index) * 255).reshape(28, 28)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    status, out, err = run("predict", tmp_path, "--rows=4")
    assert (status, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()] == list("0123456789")


def test_predict_json(run: Run, pictures: Path, transport: str) -> None:
    status, out, _ = run("predict", pictures / "8.png", "--json", "--top=1")
    assert status == 0
    answer = json.loads(out)
    probability = answer["predictions"][0]["scores"][0].pop("probability")
    assert 0.99 < probability < 1
    assert answer == {
        "model": "mnist",
        "version": 3 if transport == "grpc" else None,
        "signature": "image_bytes",
        "predictions": [
            {
                "source": f"{pictures}/8.png",
                "prediction": 8,
                "confidence": probability,
                "scores": [{"class": 8}],
            }
        ],
        "errors": [],
    }


def test_encoded_pictures_go_to_models_that_take_them(run: Run, pictures: Path) -> None:
    status, out, err = run("predict", pictures / "3.png", "--signature=image_bytes")
    assert (status, out, err) == (0, f"{pictures}/3.png: 3 99.70%\n", "")


def test_status(run: Run) -> None:
    assert run("status") == (0, "mnist version 3: AVAILABLE\n", "")
    status, out, _ = run("status", "--json")
    assert json.loads(out) == {
        "model": "mnist",
        "versions": [{"version": 3, "state": "AVAILABLE", "error_code": "OK", "error_message": ""}],
    }


def test_metadata(run: Run) -> None:
    status, out, _ = run("metadata")
    assert status == 0
    assert "  predict_object\n    takes images: float32 [?, 784]\n" in out
    status, out, _ = run("metadata", "--json")
    answer = json.loads(out)
    assert (answer["model"], answer["version"]) == ("mnist", 3)
    assert answer["signatures"]["predict_object"] == {
        "inputs": {"images": {"dtype": "float32", "shape": [None, 784]}},
        "outputs": {"predictions": {"dtype": "int64", "shape": [None]}},
    }


def test_verbose_says_where_each_setting_is_from(run: Run, pictures: Path) -> None:
    _, out, err = run("predict", pictures / "3.png", "--verbose")
    assert out == f"{pictures}/3.png: 3 99.70%\n"
    assert "host = 127.0.0.1 (--host)\n" in err
    assert "timeout = 10.0 (default)\n" in err
    assert "signature = image_bytes (called)\n" in err


def test_a_picture_that_can_not_be_read_does_not_lose_the_others(run: Run, pictures: Path) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    status, out, err = run("predict", pictures, pictures / "missing.png")
    assert status == 1
    assert [line.split()[1] for line in out.splitlines()] == ["3", "5", "8"]
    broken, missing = err.splitlines()
    assert broken.startswith(f"python -m client: '{pictures}/broken.png': 127.0.0.1:")
    assert "answered INVALID_ARGUMENT" in broken
    assert missing == (
        f"python -m client: There is no file '{pictures}/missing.png'. Check the path."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model=mnst"], "answered NOT_FOUND: Servable not found for request: Latest(mnst)."),
        (["--version=7"], "Specific(mnist, 7)"),
        (["--signature=nope"], "has no signature 'nope'. Take one of:"),
        (["--port={}"], "(Connection refused). Check host and port"),
    ],
)
def test_what_fails_is_one_line_and_status_1(
    run: Run, pictures: Path, held_port: int, arguments: list[str], said: str
) -> None:
    given = [argument.format(held_port) for argument in arguments]
    status, out, err = run("predict", pictures / "3.png", *given)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert said in err


def test_a_host_that_is_nowhere_is_a_matter_of_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DLSTACK_HOME", str(tmp_path / "none"))
    monkeypatch.setattr("client._settings.stack.__file__", str(tmp_path / "stack.py"))
    assert cli.main(["status"]) == 2
    assert "(--host and --model, or DLSTACK_HOST and DLSTACK_MODEL)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["predict"],
        ["predict", "a.png", "--text=a"],
        ["predict", "a.png", "--port=x"],
        ["predict", "a.png", "--top=0"],
        ["predict", "a.png", "--invert=maybe"],
        ["predict", "a.png", "--scale=1"],
        ["predict", "a.png", "--scale=1..1"],
        ["predict", "a.png", "--scale=0..inf"],
        ["predict", "a.png", "--rows=0"],
        ["predict", "a.png", "--json", "--to=a.csv"],
        ["status", "--transport=smtp"],
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "--help` tells more." in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host=http://127.0.0.1"], "Host 'http://127.0.0.1' is not a host name or address."),
        (["--host=127.0.0.1:1"], "--host says port 1, --port"),
        (["--port=70000"], "Port 70000 is not a TCP port."),
        (["--version=99999999999999999999"], "is not a version number."),
        (["--version=1", "--label=stable"], "are both given."),
        (["--label="], "The version label is empty."),
    ],
)
def test_a_setting_that_makes_no_sense_is_a_matter_of_usage(
    run: Run, arguments: list[str], said: str
) -> None:
    status, out, err = run("status", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_label_that_no_version_has_is_told_from_the_file_of_labels(
    run: Run, pictures: Path
) -> None:
    status, out, err = run("predict", pictures / "3.png", "--label=labels.txt")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "answered INVALID_ARGUMENT: Unrecognized servable version label: labels.txt." in err
    assert "--labels is the file of class names." in err


def test_an_answer_is_one_line_whatever_a_files_name_is(run: Run, pictures: Path) -> None:
    """A name with an escape sequence would otherwise reach the terminal."""
    (pictures / "3.png").rename(pictures / "a\nb\x1b[31m.png")
    status, out, _ = run("predict", pictures / "a\nb\x1b[31m.png")
    assert (status, out) == (0, f"{pictures}/a\\nb\\x1b[31m.png: 3 99.70%\n")


def test_labels_name_the_answer_and_the_classes(run: Run, pictures: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("3:three\n0:zero\n")
    arguments = ("predict", pictures / "3.png", "--top=2", f"--labels={labels}")
    assert run(*arguments) == (
        0,
        f"{pictures}/3.png: 3 (three) 99.70%, 0 (zero) 0.03%\n",
        "",
    )
    _, out, _ = run(*arguments, "--json")
    (answer,) = json.loads(out)["predictions"]
    assert answer["label"] == "three"
    assert [score["label"] for score in answer["scores"]] == ["three", "zero"]


def test_labels_shows_and_checks_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("2:two\n0:zero\n")
    assert cli.main(["labels", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == "0: zero\n2: two\n"
    assert "has no name for class 1." in err
    path.write_text("1:one\n0:zero\n")
    assert cli.main(["labels", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (
        {
            "file": str(path),
            "labels": [{"class": 0, "label": "zero"}, {"class": 1, "label": "one"}],
        },
        "",
    )


def test_a_class_far_above_the_others_is_no_reason_to_count_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("0:zero\n999999999999999999:typing error\n")
    assert cli.main(["labels", str(path)]) == 1
    assert "no name for class 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..." in capsys.readouterr().err


def test_texts_and_keys_are_taken_from_the_command_line(
    kinds: ModelServer, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ["--host=127.0.0.1", "--model=kinds", f"--transport={transport}"]
    server.append(f"--port={port_of(kinds, transport)}")
    keys = ["--input=in_bytes", "--output=text", "--text=abc", "--text=d"]
    assert cli.main(["predict", *server, *keys]) == 0
    assert capsys.readouterr().out == "abc: ABC\nd: D\n"


def test_json_is_valid_whatever_a_model_answers(
    kinds: ModelServer, transport: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.float32([[np.nan, np.inf, -np.inf, 0.5]]))
    server = ["--host=127.0.0.1", "--model=kinds", f"--transport={transport}"]
    server += [f"--port={port_of(kinds, transport)}", "--signature=echo_float32", "--json"]
    assert cli.main(["predict", *server, str(tmp_path / "a.npy")]) == 0
    (answer,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["predictions"]
    assert answer["prediction"] == [["NaN", "Infinity", "-Infinity", 0.5]]


def test_json_is_one_object_even_without_answers(run: Run, tmp_path: Path) -> None:
    status, out, err = run("predict", tmp_path / "missing.png", "--json")
    assert (status, err.count("\n")) == (1, 1)
    missing = f"There is no file '{tmp_path}/missing.png'. Check the path."
    assert json.loads(out) == {
        "model": "mnist",
        "version": None,
        "signature": None,
        "predictions": [],
        "errors": [{"source": f"{tmp_path}/missing.png", "error": missing}],
    }


def test_verbose_names_the_environment_and_the_stack(
    mnist: ModelServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {"host": "127.0.0.1", "grpcPort": mnist.grpc_port, "modelName": "nope"}
    monkeypatch.setattr("client._settings.settings.read_stack", lambda *_: outputs)
    monkeypatch.setenv("DLSTACK_MODEL", "mnist")
    assert cli.main(["status", "--verbose"]) == 0
    err = capsys.readouterr().err
    assert "host = 127.0.0.1 (output of the Pulumi stack)\n" in err
    assert f"port = {mnist.grpc_port} (output of the Pulumi stack)\n" in err
    assert "model = mnist (DLSTACK_MODEL)\n" in err

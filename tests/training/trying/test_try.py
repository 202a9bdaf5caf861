"""`python -m training try`, with boot files that train nothing, and with a real one.

The words of the agent's checks are tested with the agent.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import ROOT, Bucket, read_until
from tests.waiting import eventually
from training.trying.hints import hint
from training.trying.run import parser

PROLOGUE = """
import json, os, pathlib, signal, sys, time
flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
output = pathlib.Path(flags["train_url"])
"""


@pytest.fixture
def folders(tmp_path: Path) -> Mapping[str, Path]:
    """A code folder with a boot file, a data set, and a name for the output."""
    (tmp_path / "my model").mkdir()
    (tmp_path / "my model" / "train.py").write_text(PROLOGUE)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "points.csv").write_text("1,2,3\n" * 20)
    return {
        "code_dir": tmp_path / "my model",
        "data_dir": tmp_path / "data",
        "output": tmp_path / "out",
    }


def command(folders: Mapping[str, object], *more: str) -> list[str]:
    flags = [f"--{name}={value}" for name, value in folders.items()]
    return [sys.executable, "-m", "training", "try", *flags, *more]


def tried(folders: Mapping[str, object], *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(folders, *more), capture_output=True, text=True, cwd=ROOT)


def boot(folders: Mapping[str, Path], text: str) -> None:
    (folders["code_dir"] / "train.py").write_text(PROLOGUE + text)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"code_dir": "/nowhere"}, "--code_dir='/nowhere' is not a folder. Give the folder with"),
        ({"data_dir": "/nowhere"}, "--data_dir='/nowhere' is not a folder. Give the data set's"),
        ({"data_dir": "s3://a/b"}, "is in a bucket. Fetch some of it into a folder, or try"),
        ({"boot_file": "a.ipynb"}, "is a notebook, and Python runs scripts only. Make one of it"),
        ({"boot_file": "no.py"}, "which has train.py. Name the script that trains."),
        ({"epochs": "3"}, "--epochs=3 is no flag of this command. Parameters of the boot file"),
    ],
)
def test_what_can_not_be_tried_is_said_at_once(
    folders: Mapping[str, Path], flags: dict[str, str], words: str
) -> None:
    done = tried({**folders, **flags})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not folders["output"].exists()


READS = (
    "from training import streams\n"
    "data = streams.folder(flags['data_url'])\n"
    "print(flags['data_url'], [str(file.name) for file in streams.files(data)])\n"
    "print(len((data / 'points.csv').read_text()), len((data / 'deep' / 'ü &').read_bytes()))\n"
    "with (data / 'points.csv').open('rb') as file: print(file.seek(-4, 2), file.read())\n"
    "for _ in streams.contents(streams.files(data) * 300): pass\n"
    "if 'path' in flags: open(flags['data_url'] + '/points.csv')\n"
    "if 'change' in flags: os.utime(flags['change'], (1, 1)); (data / 'points.csv').read_text()\n"
    "sys.exit(9)\n"
)


def test_a_folder_is_streamed_as_the_job_would(folders: Mapping[str, Path]) -> None:
    """No store is needed for it; the shell's proxy and profile don't lead there."""
    boot(folders, READS)
    (folders["data_dir"] / "deep").mkdir()
    (folders["data_dir"] / "deep" / "ü &").write_bytes(b"")
    shell = {**os.environ, "HTTP_PROXY": "http://127.0.0.1:1", "AWS_SESSION_TOKEN": "old"}
    streamed = command(folders, "--data_mode=stream")
    done = subprocess.run(streamed, capture_output=True, text=True, cwd=ROOT, env=shell)
    assert "status 9" in done.stderr
    assert "s3://dlstack-try/data ['ü &', 'points.csv']" in done.stdout
    assert "\n120 0\n116 b'2,3\\n'\n" in done.stdout

    file = folders["data_dir"] / "points.csv"
    said = tried(folders, "--data_mode=stream", "--", "--path=yes").stderr
    assert "With 'stream' --data_url is a URL, and no folder: read it by training" in said
    changed = tried(folders, "--data_mode=stream", "--", f"--change={file}")
    assert "/data/points.csv' has changed since this training began to read" in changed.stdout


def test_a_data_set_in_a_store_is_streamed(
    folders: Mapping[str, Path], bucket: Bucket, environment: SeaweedFS
) -> None:
    boot(folders, READS)
    bucket.put("set/points.csv", b"1,2,3\n" * 20)
    bucket.put("set/deep/ü &", b"")
    done = tried({**folders, "data_dir": bucket.url("set/")}, "--data_mode=stream")
    assert f"{bucket.url('set')} ['ü &', 'points.csv']\n120 0\n" in done.stdout
    none = tried({**folders, "data_dir": bucket.url("none")}, "--data_mode=stream")
    assert "holds no files. Upload them there" in none.stderr


def test_an_empty_data_set_and_an_output_of_another_run_are_refused(
    folders: Mapping[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    assert "has no files" in tried({**folders, "data_dir": tmp_path / "empty"}).stderr
    (folders["output"] / "checkpoints").mkdir(parents=True)
    assert "has 'checkpoints' of an earlier run" in tried(folders).stderr


def test_the_only_script_is_the_boot_file_and_of_several_one_is_named(
    folders: Mapping[str, Path],
) -> None:
    script = folders["code_dir"] / "train.py"
    script.rename(script.with_name("fit.py")).write_text(PROLOGUE + "sys.exit(7)")
    assert "Boot file 'fit.py' exited with status 7" in tried(folders).stderr
    (folders["code_dir"] / "other.py").touch()
    assert "the scripts fit.py, other.py. Name the one" in tried(folders).stderr


def test_a_notebook_is_refused_under_any_name(folders: Mapping[str, Path]) -> None:
    """Symptom otherwise: Python runs JSON without `null` to its end, and no model is there."""
    (folders["code_dir"] / "train.py").write_text('{"cells": [{"source": ["x = 1"]}]}')
    [line] = tried(folders).stderr.splitlines()
    assert "--boot_file='train.py' is a notebook under another name" in line
    assert "'jupyter nbconvert --to script train.ipynb'" in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"def f(:\n    pass\n", "Python can't read that line of the file"),
        (b"if 1:\n    x = 1\n      y = 2\n", "Python can't read that line of the file"),
        (b"if 1:\n\tx = 1\n        y = 2\n", "Python can't read that line of the file"),
        (b"#!/bin/bash\necho hi\n", "If it is no Python script, name the one that trains."),
        (b"x = '\xe4'\n", "Save the file in UTF-8"),
        (b"x = 1\0\n", "it has NUL bytes"),
        (b'{"a": null}\n', "Of a notebook make a script"),
        (b"get_ipython().system('pip install pandas')\n", "Notebooks alone have get_ipython()"),
        # What is wrong there is not the file.
        (b"eval('a b')\n", ""),
        (b"import json\njson.loads('{')\n", ""),
    ],
)
def test_what_python_can_not_read_is_told_what_to_do(
    tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "train.py"
    file.write_bytes(content)
    said = subprocess.run([sys.executable, file], capture_output=True, text=True).stderr
    assert "Error: " in said
    assert words in hint(said) if words else not hint(said)


def test_the_help_shows_no_empty_defaults() -> None:
    shown = " ".join(parser().format_help().split())
    assert "default: train.py" in shown and "(default: 600.0)" in shown
    assert not re.search(r"\(default: (?:None|\[\])?\)", shown)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def (", "exited with status 1. Python can't read that line"),
        ("open('../data/points.csv')", "read files from the folder of --data_url"),
        ("import a_package", "Name the package in a file requirements.txt"),
        ("import training.mine", "If a folder of yours has this name, it hides dlstack's"),
        ("json.dumps(object())", "by float(value)"),
        ("import argparse; argparse.ArgumentParser().parse_args()", "Let it take them"),
        ("", "left no 'model/saved_model.pb' in --train_url"),
    ],
)
def test_a_boot_file_that_fails_is_told_what_to_do(
    folders: Mapping[str, Path], code: str, words: str
) -> None:
    boot(folders, code)
    done = tried(folders)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert done.stderr.endswith(f"What it left is in {folders['output']}\n")


def test_it_sees_what_it_would_in_the_job(folders: Mapping[str, Path]) -> None:
    """A copy of the code without what is not sent, and its working folder."""
    (folders["code_dir"] / "beside.py").write_text("NAME = 'beside'")
    (folders["code_dir"] / ".env").write_text("SECRET=1")
    boot(
        folders,
        "import beside\n"
        "print(beside.NAME, sorted(os.listdir()), flags['rate'])\n"
        "print(pathlib.Path(flags['data_url'], 'points.csv').exists())\n",
    )
    lines = tried(folders, "--", "--rate=0.5").stdout
    assert lines == "beside ['beside.py', 'train.py'] 0.5\nTrue\n" + lines.split("True\n")[1]
    assert (folders["output"] / "log.txt").read_text().startswith("beside [")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_boot_file_with_it(
    folders: Mapping[str, Path], number: signal.Signals
) -> None:
    boot(folders, "print('pid', os.getpid(), flush=True)\ntime.sleep(600)")
    process = subprocess.Popen(
        command(folders),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        pid = int(read_until(process, "pid").split()[-1])
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Ended. What the boot file left is in {folders['output']}" in errors

    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    eventually(is_gone)


SCRIPT = """
import argparse, json, pathlib
import keras, pandas
parser = argparse.ArgumentParser()
parser.add_argument("--data_url")
parser.add_argument("--train_url")
parser.add_argument("--epochs", type=int, default=1)
options = parser.parse_args()
output = pathlib.Path(options.train_url)
table = pandas.read_csv(pathlib.Path(options.data_url) / "points.csv", header=None)
model = keras.Sequential([keras.Input([2], name="points"), keras.layers.Dense(1)])
model.compile("sgd", "mse")
for number in range(options.epochs):
    print(f"epoch {number}", end="\\r")
    history = model.fit(table.values[:, :2], table.values[:, 2], verbose=1)
SAVE
metrics = {"loss": history.history["loss"][-1]}
(output / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.mark.slow
def test_a_keras_script_with_pandas_ends_with_what_comes_next(
    folders: Mapping[str, Path],
) -> None:
    pytest.importorskip("pandas")
    script = folders["code_dir"] / "train.py"
    script.write_text(SCRIPT.replace("SAVE", 'model.export(output / "model")'))
    done = tried(folders, "--max_metric=loss:100", "--", "--epochs=2")
    assert done.returncode == 0, done.stderr
    output = folders["output"]
    assert f"model        {output}/model, 0.0 MB" in done.stdout
    assert "serving_default: answers a row made from its spec" in done.stdout
    assert re.search(r"^metrics      loss [\d.e-]+$", done.stdout, re.MULTILINE)
    assert "dlstack:maxMetrics.loss 100: passed" in done.stdout
    assert f"pulumi config set dlstack:codeDir '{folders['code_dir']}'" in done.stdout
    parameters = "pulumi config rm dlstack:runParameters\n  pulumi config set --path "
    assert f"{parameters}dlstack:runParameters.epochs 2\n" in done.stdout
    assert "pulumi config set --path dlstack:maxMetrics.loss 100\n  pulumi up" in done.stdout
    assert (output / "versions" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_a_model_that_never_answers_fails_here_as_in_the_job(folders: Mapping[str, Path]) -> None:
    script = folders["code_dir"] / "train.py"
    save = 'import tensorflow\ntensorflow.saved_model.save(model, str(output / "model"))'
    script.write_text(SCRIPT.replace("SAVE", save))
    done = tried(folders)
    assert done.returncode == 1
    assert "error: The exported model is not published. Signature " in done.stderr
    assert "with `model.export(FOLDER)`" in done.stderr

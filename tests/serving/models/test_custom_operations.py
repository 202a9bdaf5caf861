"""Operations that TensorFlow does not have: a real one, compiled here against TensorFlow's headers.

TensorFlow Text's libraries are loaded the same way; they are no dependency of these tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.asking import http_call, statuses
from tests.serving.conftest import served
from tests.serving_fixtures import failed_start, running_server
from tests.waiting import eventually

SOURCE = """
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"

REGISTER_OP("Test>AddSeven").Input("x: float").Output("y: float").SetShapeFn(
    tensorflow::shape_inference::UnchangedShape);
REGISTER_OP("Test>WithoutShape").Input("x: float").Output("y: float");

class AddSeven : public tensorflow::OpKernel {
 public:
  using tensorflow::OpKernel::OpKernel;
  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor& x = context->input(0);
    tensorflow::Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    y->flat<float>() = x.flat<float>() + 7.0f;
  }
};
REGISTER_KERNEL_BUILDER(Name("Test>AddSeven").Device(tensorflow::DEVICE_CPU), AddSeven);
REGISTER_KERNEL_BUILDER(Name("Test>WithoutShape").Device(tensorflow::DEVICE_CPU), AddSeven);
"""

EXPORT = """
import sys, sysconfig, subprocess
import tensorflow as tf

source, library, model = sys.argv[1:]
flags = tf.sysconfig.get_compile_flags() + tf.sysconfig.get_link_flags()
subprocess.run(["g++", "-shared", "-fPIC", "-O0", source, "-o", library, *flags], check=True)
operations = tf.load_op_library(library)
module = tf.Module()

@tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
def serve(x):
    return {"y": operations.test_add_seven(x)}

@tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
def shapeless(x):
    return {"y": operations.test_without_shape(x)}

signatures = {"serving_default": serve, "shapeless": shapeless}
tf.saved_model.save(module, model, signatures=signatures)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Has the operation's library, and a model that uses it."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("operation")
    (folder / "add_seven.cc").write_text(SOURCE)
    (folder / "libraries").mkdir()
    paths = [folder / "add_seven.cc", folder / "libraries" / "add_seven.so", folder / "model"]
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, *map(str, paths)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", ["libraries/add_seven.so", "libraries"])
def test_a_model_with_such_an_operation_is_served(folder: Path, tmp_path: Path, path: str) -> None:
    """One of them says nothing of its output's shape, like some of TensorFlow Text's."""
    base = served(folder, tmp_path / "m", "model", 1)
    with running_server(base, "m", [f"--custom_op_libraries={folder / path}"]) as server:
        for signature in ("serving_default", "shapeless"):
            body = {"signature_name": signature, "instances": [1.0, -7.5]}
            status, text = http_call(server, "POST", "/v1/models/m:predict", body)
            assert (status, json.loads(text)) == (200, {"predictions": [8.0, -0.5]})


@pytest.mark.slow
def test_without_its_library_the_start_fails_at_once_and_says_what_lacks(
    folder: Path, tmp_path: Path
) -> None:
    """It used to be tried for five minutes: six times, a minute apart."""
    # Which is longer than this waits.
    said = failed_start(served(folder, tmp_path / "m", "model", 1), "m").stdout
    assert "The model uses the operation 'Test>AddSeven', which TensorFlow does not have." in said
    assert "--custom_op_libraries" in said


@pytest.mark.slow
def test_a_new_version_without_its_library_leaves_the_old_one(
    models: Path, folder: Path, tmp_path: Path
) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    with running_server(base, "m") as server:
        served(folder, base, "model", 2)
        assert eventually(lambda: statuses(server).get(2) == "END")
        status, text = http_call(server, "GET", "/v1/models/m/versions/2")
        [version] = json.loads(text)["model_version_status"]
        assert version["status"]["error_code"] == "NOT_FOUND"
        assert "'Test>AddSeven'" in version["status"]["error_message"]
        status, text = http_call(server, "POST", "/v1/models/m:predict", {"instances": [2.0]})
    assert (status, json.loads(text)) == (200, {"predictions": [3.0]})


def test_a_library_that_is_not_there_is_a_start_failure(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    done = failed_start(base, "m", [f"--custom_op_libraries={tmp_path / 'nope.so'}"])
    assert (
        f"'{tmp_path / 'nope.so'}' is neither a library nor a folder with *.so files."
        in done.stdout
    )
    assert "Traceback" not in done.stdout + done.stderr


def test_what_is_no_library_is_a_start_failure(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    (tmp_path / "text.so").write_text("no library")
    done = failed_start(base, "m", [f"--custom_op_libraries={tmp_path / 'text.so'}"])
    assert (
        f"can't load '{tmp_path / 'text.so'}'. Use one that was built for this version."
        in done.stdout
    )
    assert "Traceback" not in done.stdout + done.stderr

"""What a boot file finds in its pod: packages, variables, secrets, a user, room in /dev/shm."""

import json
import textwrap
from pathlib import Path

import pytest

from tests.cluster.conftest import Deployment
from tests.training.agent.test_packages import Index, wheel

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SECRET = "hunter2-of-the-boot-file"

BOOT_FILE = """
    import getpass, hashlib, json, os, pathlib, pwd, subprocess, sys, time
    from multiprocessing import shared_memory

    import numpy as np
    import one
    import pandas as pd
    import tensorflow as tf

    flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
    output = pathlib.Path(flags["train_url"])
    table = pd.DataFrame({"a": [1.0, 2.0]})
    table.to_parquet("table.parquet")
    memory = shared_memory.SharedMemory(create=True, size=200 * 2**20)
    memory.buf[:] = bytes(memory.size)
    memory.unlink()
    pathlib.Path(os.path.expanduser("~"), ".cache-of-mine").write_text("x")
    found = {
        "one": one.VERSION,
        "tensorflow": tf.__version__,
        "rows": len(pd.read_parquet("table.parquet")),
        "user": [getpass.getuser(), pwd.getpwuid(os.getuid()).pw_name],
        "level": os.environ["LEVEL"],
        "secret": hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest(),
        "program": subprocess.run(["./hello.sh"], capture_output=True, text=True).stdout.strip(),
        "run": int(flags["run"]),
    }
    print("found", json.dumps(found), flush=True)

    class Twice(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {"y": 2 * x}

    twice = Twice()
    tf.saved_model.save(twice, str(output / "model"), signatures=twice.serve)
    (output / "metrics.json").write_text(json.dumps({"loss": 0.0}))
"""


def test_packages_variables_and_secrets_reach_the_boot_file_and_secrets_nobody_else(
    deployment: Deployment, index: Index, tmp_path: Path
) -> None:
    index.add(wheel("one", "1.0"))
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text(textwrap.dedent(BOOT_FILE))
    # As TensorFlow is in the image by another name: nothing of it is downloaded.
    (code / "requirements.txt").write_text("tensorflow\nnumpy\none\n")
    (code / "hello.sh").write_text("#!/bin/sh\necho hello\n")
    (code / "hello.sh").chmod(0o755)
    deployment.configure(f"codeDir={code}", "bootFile=train.py", "modelName=twice")
    deployment.configure("env.LEVEL=debug", f"env.PIP_INDEX_URL={index.url}")
    host = index.url.split("/")[2].partition(":")[0]
    deployment.configure(f"env.PIP_TRUSTED_HOST={host}", "runParameters.run=1")
    words = ("--secret", "--path", "dlstack:secretEnv.TOKEN", SECRET)
    assert deployment.pulumi("config", "set", *words).returncode == 0
    first = deployment.up()
    assert first.returncode == 0
    assert found(deployment, "1")["level"] == "debug"

    # The index is gone, and the secret is renewed, which trains nothing by itself.
    index.server.shutdown()
    words = ("--secret", "--path", "dlstack:secretEnv.TOKEN", f"{SECRET}-2")
    assert deployment.pulumi("config", "set", *words).returncode == 0
    run = deployment.outputs()["runHash"]
    second = deployment.up()
    assert second.returncode == 0 and deployment.outputs()["runHash"] == run
    deployment.configure("runParameters.run=2")
    third = deployment.up()
    assert third.returncode == 0
    log = found(deployment, "2")
    assert (log["one"], log["rows"], log["program"]) == ("1.0", 2, "hello")
    assert log["user"] == ["dlstack", "dlstack"]

    said = "".join(one.stdout for one in (first, second, third))
    state = deployment.pulumi("stack", "export").stdout
    jobs = json.dumps(deployment.items("jobs") + deployment.items("pods"))
    store = deployment.store()
    for text in (said, state, jobs, *logs(deployment)):
        assert SECRET not in text
    listed = store.list_objects_v2(Bucket=f"{deployment.namespace}-output")["Contents"]
    assert any(one["Key"].startswith("packages/") for one in listed)


def logs(deployment: Deployment) -> list[str]:
    store, bucket = deployment.store(), f"{deployment.namespace}-output"
    listed = store.list_objects_v2(Bucket=bucket, Prefix="runs/")["Contents"]
    keys = [one["Key"] for one in listed if one["Key"].endswith(("log.txt", ".json"))]
    return [store.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys]


def found(deployment: Deployment, run: str) -> dict:
    """What the boot file of a run printed."""
    lines = [
        json.loads(line.removeprefix("found "))
        for log in logs(deployment)
        for line in log.splitlines()
        if line.startswith("found ")
    ]
    (line,) = [one for one in lines if str(one["run"]) == run]
    return line

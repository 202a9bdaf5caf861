"""Two stacks on a real cluster: one that trains and serves nothing, one that serves what that made;
then a backup of the one becomes another stack.

The tests build on each other and run in the order in which they stand here. By configuration keys
alone, as docs/operations.md has it.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.__main__ import Platform
from local.home import REPOSITORY
from local.stack import held_out
from tests.cluster.conftest import Deployment, configuration_kept, new_stack

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def dev(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-dev") as deployment:
        # Two stacks are to fit on a small machine.
        deployment.configure("flavours.small.cpu=100m", "flavours.small.memory=1Gi")
        deployment.configure("flavour=small", "runParameters.model=softmax", "deploy=false")
        yield deployment


@pytest.fixture(scope="module")
def prod(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-prod", destroyed=True) as deployment:
        assert deployment.pulumi("config", "rm", "dlstack:dataDir").returncode == 0
        yield deployment


def infra(deployment: Deployment, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "infra", *words]
    return subprocess.run(
        command, cwd=REPOSITORY, env=dict(deployment.variables), capture_output=True, text=True
    )


def status(deployment: Deployment) -> str:
    done = infra(deployment, "status")
    assert done.returncode == 0, done.stderr
    return done.stdout


def configure_as_told(deployment: Deployment, commands: str) -> None:
    """Run the `pulumi config` commands of an advice: `pulumi … && pulumi …`."""
    for command in commands.split(" && "):
        assert deployment.pulumi(*command.split()[1:]).returncode == 0


def right(deployment: Deployment, data_dir: Path) -> int:
    """How many of 100 digits that it never saw the served model reads."""
    truths, answers = held_out.predict(deployment.variables, data_dir, 100)
    return sum(answer == truth for answer, truth in zip(answers, truths, strict=True))


def test_dev_trains_and_serves_nothing(dev):
    assert dev.up().returncode == 0
    outputs = dev.outputs()
    assert "grpcPort" not in outputs
    assert outputs["published"]["version"] == 1
    assert "not served: pulumi config set dlstack:deploy true" in outputs["published"]["state"]
    assert dev.names("deployments") == ["object-store", "tensorboard"]
    assert "Version 1 is published and not served." in status(dev)


def test_prod_serves_it_with_what_was_measured_and_trains_nothing(dev, prod):
    made = dev.outputs()
    assert made["modelUrl"] == "stack:dlstack-cluster-dev/1"
    prod.configure(f"model={made['modelUrl']}")
    preview = prod.pulumi("preview")
    assert preview.returncode == 0
    said = "Version 1 of the model 'mnist' of the stack 'dlstack-cluster-dev' (loss"
    assert said in preview.stdout
    assert prod.up().returncode == 0
    outputs = prod.outputs()
    assert (outputs["metrics"], outputs["runHash"]) == (
        made["published"]["metrics"],
        made["published"]["runHash"],
    )
    assert outputs["provenance"]["origin"]["given"] == made["modelUrl"]
    assert outputs["provenance"]["parameters"] == {"model": "softmax"}
    assert prod.names("jobs") == []
    assert right(prod, dev.data_dir) >= 80


def test_a_second_up_changes_nothing(dev, prod):
    for stack in (dev, prod):
        began = time.monotonic()
        done = stack.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")
        print(f"no-op up of {stack.name}: {time.monotonic() - began:.1f} s")
        assert done.returncode == 0


def test_no_secret_of_either_store_is_in_the_state(dev, prod):
    state = prod.pulumi("stack", "export").stdout
    for stack in (dev, prod):
        secret = stack.kubectl(
            *("get", "secret", "object-store"),
            *("--output", 'go-template={{index .data "AWS_SECRET_ACCESS_KEY" | base64decode}}'),
        ).stdout
        assert len(secret) > 20 and secret not in state


def test_dev_serves_at_a_word_and_trains_nothing_for_that(dev):
    before = dev.names("jobs")
    dev.configure("deploy=true")
    assert dev.up().returncode == 0
    assert dev.names("jobs") == before
    assert dev.outputs()["modelVersion"] == 1
    assert right(dev, dev.data_dir) >= 80


def test_a_model_that_is_worse_than_what_serves_is_refused(dev):
    dev.configure("runParameters.max_steps=20", "maxRegression.accuracy=0.005")
    done = dev.up()
    assert done.returncode != 0
    assert "is worse by" in done.stdout
    assert "of version 1, which serves: dlstack:maxRegression.accuracy 0.005" in done.stdout
    assert dev.outputs()["modelVersion"] == 1
    assert right(dev, dev.data_dir) >= 80


def test_one_that_is_worse_by_no_more_than_is_allowed_is_published(dev):
    """The same run: it goes on from its checkpoint, and is measured anew."""
    dev.configure("maxRegression.accuracy=0.9", "deploy=false")
    assert dev.up().returncode == 0
    outputs = dev.outputs()
    assert (outputs["modelVersion"], outputs["published"]["version"]) == (1, 2)
    assert outputs["modelUrl"] == "stack:dlstack-cluster-dev/2"
    assert right(dev, dev.data_dir) >= 80
    assert "Version 2 is published and not served." in status(dev)


def test_prod_asks_for_what_it_wants_whatever_dev_does(dev, prod):
    prod.configure(f"model={dev.outputs()['modelUrl']}", "maxRegression.accuracy=0.005")
    done = prod.pulumi("preview")
    assert done.returncode != 0
    assert "is refused: accuracy" in done.stdout
    prod.configure("maxRegression.accuracy=0.9")
    assert prod.up().returncode == 0
    assert prod.outputs()["modelVersion"] == 2
    # And the way back, without another copy.
    prod.configure("model=stack:cluster-dev/1")
    assert prod.up().returncode == 0
    assert prod.outputs()["modelVersion"] == 1
    assert right(prod, dev.data_dir) >= 80


def test_a_model_that_loads_and_never_answers_does_not_take_the_place_of_one_that_does(
    dev, prod, tmp_path
):
    module = "tests.serving.check.broken_kinds"
    subprocess.run([sys.executable, "-m", module, str(tmp_path)], cwd=REPOSITORY, check=True)
    prod.configure(f"model={tmp_path / 'keras_with_tf_saved_model_save'}", "maxRegression=")
    done = prod.up()
    assert done.returncode != 0
    assert "the container 'check'" in done.stdout
    assert right(prod, dev.data_dir) >= 80
    prod.configure("model=stack:cluster-dev/1")
    assert prod.up().returncode == 0


def test_the_copy_serves_on_when_dev_is_gone(dev, prod):
    assert dev.destroy().returncode == 0
    done = prod.up()
    assert done.returncode == 0
    assert "the copy of it, goes on serving" in done.stdout
    assert right(prod, dev.data_dir) >= 80


@pytest.fixture(scope="module")
def kept(prod: Deployment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A backup of prod, which has copied dev's versions."""
    file = str(tmp_path_factory.mktemp("backup") / "prod.tar")
    assert infra(prod, "backup", file).returncode == 0
    return file


def test_a_backup_becomes_a_stack_of_another_name_with_the_same_answers(dev, prod, kept):
    """Nothing is left of dev but its configuration, `deploy` false among it."""
    done = infra(dev, "restore", kept)
    assert done.returncode == 1
    pin = r"'(pulumi config rm dlstack:deploy && pulumi config set dlstack:modelVersion) \d+'. Then"
    advice = re.search(pin, done.stderr)
    assert advice, done.stderr
    # The newest is the one that never answers; prod serves the first.
    configure_as_told(dev, f"{advice[1]} 1")
    done = dev.up()
    assert done.returncode != 0
    assert "Version 1 of the model 'mnist' is not published" in done.stdout
    assert "python -m infra restore FILE" in done.stdout
    done = infra(dev, "restore", kept)
    assert done.returncode == 0
    assert "Serve version 1, which is pinned: pulumi up" in done.stderr
    assert dev.up().returncode == 0
    assert dev.names("jobs") == []
    for name in ("modelVersion", "metrics", "runHash"):
        assert dev.outputs()[name] == prod.outputs()[name]
    wanted = held_out.predict(prod.variables, dev.data_dir, 100)
    assert held_out.predict(dev.variables, dev.data_dir, 100) == wanted


def test_the_advice_after_a_restore_takes_back_the_model_that_is_configured(prod, kept):
    done = infra(prod, "restore", kept)
    advice = re.search(r": (pulumi config rm dlstack:model && .* (\d+)) && pulumi up", done.stderr)
    assert advice, done.stderr
    with configuration_kept(prod):
        configure_as_told(prod, advice[1])
        preview = prod.pulumi("preview")
    assert preview.returncode == 0
    assert f"dlstack:modelVersion pins version {advice[2]}: nothing is trained." in preview.stdout

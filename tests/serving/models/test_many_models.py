"""Several models: the config file, version policies, labels, and lists replaced while it runs.

`two` is y = x/2 + 2, `three` is y = x/2 + 3; x is 2 throughout, so y is 3 or 4.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.models.folders import VersionPolicy
from serving.models.registry import Models
from serving.models.version import LoadOptions
from serving.ports.grpc import api
from tests.serving.asking import http_call, refused, statuses
from tests.serving.conftest import model_stub, predict_request, predict_stub, served
from tests.serving.models.test_versions import broken
from tests.serving_fixtures import (
    ModelServer,
    failed_start,
    running_server,
)
from tests.waiting import eventually

FAST = ["--max_num_load_retries=0"]


def model(name: str, base: Path | str, more: str = "", platform: str = "tensorflow") -> str:
    """Return one `config` entry of a ModelConfigList in text form."""
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "{platform}" {more} }}'


def listed(*entries: str) -> str:
    return f"model_config_list {{ {' '.join(entries)} }}"


def rewrite(file: Path, text: str) -> None:
    """Give a file another content, at once: for whoever looks in between, it would be empty."""
    other = file.with_name(f"{file.name}.new")
    other.write_text(text)
    other.replace(file)


def reload_request(text: str) -> model_management_pb2.ReloadConfigRequest:
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return model_management_pb2.ReloadConfigRequest(config=config)


def replace(server: ModelServer, *entries: str, timeout: float = 30) -> None:
    answer = model_stub(server).HandleReloadConfigRequest(
        reload_request(listed(*entries)), timeout=timeout
    )
    assert answer.status.error_code == 0


def ask(server: ModelServer, name: str, *, label: str = "", version: int = 0) -> float:
    request = predict_request(name, x=np.array([2], np.float32))
    if label:
        request.model_spec.version_label = label
    if version:
        request.model_spec.version.value = version
    return predict_stub(server).Predict(request, timeout=60).outputs["y"].float_val[0]


def ask_rest(server: ModelServer, path: str) -> float:
    status, text = http_call(server, "POST", f"/v1/models/{path}:predict", {"instances": [2]})
    assert status == 200, text
    return json.loads(text)["predictions"][0]


@pytest.fixture(scope="module")
def bases(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Base paths `a` and `b`, each with the versions 1 (y = 3), 2 (y = 4) and 3 (y = 3)."""
    folder = tmp_path_factory.mktemp("many")
    for name in ("a", "b"):
        for version, kind in enumerate(("half_plus_two", "half_plus_three", "half_plus_two"), 1):
            served(models, folder / name, kind, version)
    return {name: folder / name for name in ("a", "b")}


@pytest.fixture(scope="module")
def server(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server whose list each test replaces by its own."""
    file = tmp_path_factory.mktemp("config") / "models.config"
    file.write_text(listed(model("a", bases["a"])))
    with running_server(bases["a"], "a", [f"--model_config_file={file}", *FAST]) as server:
        yield server


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (VersionPolicy(), {9}),
        (VersionPolicy(latest=2), {5, 9}),
        (VersionPolicy(latest=0), {1, 5, 9}),
        (VersionPolicy(specific=frozenset({1, 7})), {1}),
    ],
)
def test_a_policy_chooses_among_the_versions(policy: VersionPolicy, chosen: set[int]) -> None:
    assert policy.choose([5, 1, 9]) == chosen
    assert policy.choose([]) == set()


def test_a_config_file_serves_several_models_each_by_its_policy(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "models.config"
    file.write_text(
        listed(
            model("latest", bases["a"]),
            model("all", bases["a"], "model_version_policy { all {} }"),
            model("two", bases["a"], "model_version_policy { latest { num_versions: 2 } }"),
            model("fixed", bases["b"], "model_version_policy { specific { versions: 2 } }"),
        )
    )
    with running_server(bases["a"], "all", [f"--model_config_file={file}"]) as server:
        eventually(lambda: statuses(server) == {n: "AVAILABLE" for n in (3, 2, 1)})
        server.name = "two"
        eventually(lambda: statuses(server) == {n: "AVAILABLE" for n in (3, 2)})
        server.name = "fixed"
        assert statuses(server) == {2: "AVAILABLE"}
        assert ask(server, "latest") == 3
        assert ask(server, "fixed") == ask_rest(server, "fixed") == 4
        assert ask(server, "all", version=2) == ask_rest(server, "all/versions/2") == 4
        assert ask(server, "all") == 3, "the highest"
        with pytest.raises(grpc.RpcError) as caught:
            ask(server, "latest", version=2)
        assert caught.value.details() == "Servable not found for request: Specific(latest, 2)"


def test_a_reload_adds_and_removes_models_and_waits_for_the_new(
    server: ModelServer, bases: dict[str, Path]
) -> None:
    replace(server, model("a", bases["a"]))
    replace(server, model("b", bases["b"]))
    assert ask(server, "b") == ask_rest(server, "b") == 3, "at once"
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, "a")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "Servable not found for request: Latest(a)"
    server.name = "a"
    eventually(lambda: set(statuses(server).values()) == {"END"})
    replace(server, model("a", bases["a"]), model("b", bases["b"]))
    assert ask(server, "a") == ask(server, "b") == 3


def test_a_reload_changes_the_policy_of_a_model_while_it_answers(
    server: ModelServer, bases: dict[str, Path]
) -> None:
    replace(server, model("a", bases["a"]))
    stop, failures, answers = threading.Event(), [], set()

    def load() -> None:
        while not stop.is_set():
            try:
                answers.add(ask(server, "a"))
            except grpc.RpcError as error:
                failures.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        replace(server, model("a", bases["a"], "model_version_policy { specific { versions: 2 } }"))
        eventually(lambda: 4 in answers)
        replace(server, model("a", bases["a"]))
        eventually(lambda: statuses(server)[2] == "END")
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert ask(server, "a") == 3


def test_labels_name_versions_and_can_be_moved(server: ModelServer, bases: dict[str, Path]) -> None:
    every = "model_version_policy { all {} }"

    def labels(stable: int, canary: int) -> str:
        return (
            f'{every} version_labels {{ key: "stable" value: {stable} }} '
            f'version_labels {{ key: "canary" value: {canary} }}'
        )

    replace(server, model("a", bases["a"], every))
    server.name = "a"
    eventually(lambda: statuses(server) == {n: "AVAILABLE" for n in (3, 2, 1)})
    replace(server, model("a", bases["a"], labels(1, 2)))
    assert ask(server, "a", label="stable") == ask_rest(server, "a/labels/stable") == 3
    assert ask(server, "a", label="canary") == ask_rest(server, "a/labels/canary") == 4
    replace(server, model("a", bases["a"], labels(2, 3)))
    assert ask(server, "a", label="stable") == 4
    code, text = refused(
        model_stub(server).HandleReloadConfigRequest,
        reload_request(listed(model("a", bases["a"], labels(9, 3)))),
    )
    assert code == "FAILED_PRECONDITION"
    assert text == (
        "Request to assign label to version 9 of model a, which is not currently available for "
        "inference"
    )
    assert ask(server, "a", label="stable") == 4, "a refused list changes nothing"
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, "a", label="nightly")
    assert caught.value.details() == "Unrecognized servable version label: nightly"


def test_a_label_of_a_version_to_come_needs_the_flag_and_never_moves(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "models.config"
    entry = model("a", bases["a"], 'version_labels { key: "stable" value: 3 }')
    file.write_text(listed(entry))
    flag = f"--model_config_file={file}"
    done = failed_start(bases["a"], "a", [flag])
    assert done.stdout.startswith(
        "Failed to start server. Error: FAILED_PRECONDITION: Request to assign label to version 3 "
    )
    flags = [flag, "--allow_version_labels_for_unavailable_models"]
    with running_server(bases["a"], "a", flags) as server:
        assert ask(server, "a", label="stable") == 3
        moved = model("a", bases["a"], 'version_labels { key: "stable" value: 2 }')
        code, _ = refused(
            model_stub(server).HandleReloadConfigRequest, reload_request(listed(moved))
        )
        assert code == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            listed(model("a", "/x"), model("a", "/y")),
            "INVALID_ARGUMENT",
            "Illegal to list model a multiple times in config list",
        ),
        (
            listed(model("a", "x/y")),
            "INVALID_ARGUMENT",
            "Expected model a to have an absolute path or URI; got base_path()=x/y",
        ),
        (
            listed(model("a", "/x", platform="other")),
            "INVALID_ARGUMENT",
            "Illegal to change a model's platform. For model a platform was tensorflow and new "
            "platform requested is other",
        ),
        (
            listed(model("new", "/x", platform="other")),
            "INVALID_ARGUMENT",
            "Model new requests unsupported platform other",
        ),
        (
            listed(model("new", "/x", platform="")),
            "INVALID_ARGUMENT",
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform.",
        ),
        (
            "custom_model_config {}",
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ),
        (
            listed(model("new", "/x", 'logging_config { log_collector_config { type: "t" } }')),
            "INVALID_ARGUMENT",
            "No request-logger-creator provided.",
        ),
        (
            listed(model("new", "s3://bucket/new")),
            "UNIMPLEMENTED",
            "Model new has the URI s3://bucket/new as base_path. This server reads local folders "
            "only; copy the versions there with serving.sync.",
        ),
    ],
    ids=lambda value: value[:30],
)
def test_a_list_that_cannot_be_served_is_refused_and_changes_nothing(
    server: ModelServer, bases: dict[str, Path], text: str, code: str, message: str
) -> None:
    replace(server, model("a", bases["a"]))
    call = model_stub(server).HandleReloadConfigRequest
    assert refused(call, reload_request(text)) == (code, message)
    assert ask(server, "a") == 3


def test_a_reload_says_which_new_model_failed_and_leaves_the_others(
    server: ModelServer, bases: dict[str, Path], tmp_path: Path
) -> None:
    base = tmp_path / "bad"
    base.mkdir()
    broken(base, 7)
    code, text = refused(
        model_stub(server).HandleReloadConfigRequest,
        reload_request(listed(model("a", bases["a"]), model("bad", base))),
    )
    assert code == "UNKNOWN"
    assert text.startswith(
        "1 model(s) did not become available: {{{name: bad version: 7} due to error: "
    )
    assert text.endswith("}, }")
    assert ask(server, "a") == 3


def test_a_failed_model_is_tried_again_when_its_base_path_changes(
    server: ModelServer, bases: dict[str, Path], tmp_path: Path
) -> None:
    base = tmp_path / "moved"
    base.mkdir()
    broken(base, 3)
    entry = model("moved", base)
    code, _ = refused(
        model_stub(server).HandleReloadConfigRequest,
        reload_request(listed(model("a", bases["a"]), entry)),
    )
    assert code == "UNKNOWN"
    replace(server, model("a", bases["a"]), model("moved", bases["b"]))
    assert eventually(lambda: answers(server, "moved")) == 3


def answers(server: ModelServer, name: str) -> float | None:
    try:
        return ask(server, name)
    except grpc.RpcError:
        return None


def test_a_reload_that_nobody_waits_for_does_not_block_the_next(
    server: ModelServer, bases: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(grpc.RpcError) as caught:
        replace(server, model("empty", tmp_path / "empty"), timeout=0.5)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    replace(server, model("a", bases["a"]))
    assert ask(server, "a") == 3


def test_a_reload_that_is_given_up_before_it_begins_changes_nothing(
    bases: dict[str, Path],
) -> None:
    """Symptom: a thread that was late put its list in the place of the one that came after it."""
    models = Models(LoadOptions())
    api.reload(models, reload_request(listed(model("a", bases["a"]))), lambda: True)
    assert models.metric_name("a") == "", "it was never served"


def test_a_reload_that_nobody_waits_for_gives_its_thread_back(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with running_server(bases["a"], "a", ["--grpc_max_threads=1"]) as server:
        with pytest.raises(grpc.RpcError) as caught:
            replace(server, model("empty", tmp_path / "empty"), timeout=0.5)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        replace(server, model("a", bases["a"]))
        assert ask(server, "a") == 3


def test_a_config_file_is_followed_and_a_broken_one_changes_nothing(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "models.config"
    file.write_text(listed(model("a", bases["a"])))
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with running_server(bases["a"], "a", flags) as server:
        rewrite(file, "model_config_list { nonsense: 1 }")
        words = "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:21"
        eventually(lambda: words in server.log())
        # What it means for the models comes after the parser's words.
        eventually(lambda: f"INVALID_ARGUMENT: Invalid protobuf file: '{file}'" in server.log())
        assert ask(server, "a") == 3
        server.name = "b"
        rewrite(file, listed(model("b", bases["b"])))
        eventually(lambda: "name: b version: 3" in server.log())
        eventually(lambda: statuses(server) == {3: "AVAILABLE"})
        assert ask(server, "b") == 3


def test_a_config_file_that_is_none_is_a_start_failure(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text("model_config_list {")
    for path, text in (
        (file, f"INVALID_ARGUMENT: Invalid protobuf file: '{file}'"),
        (tmp_path / "none", f"NOT_FOUND: {tmp_path / 'none'}; No such file or directory"),
    ):
        done = failed_start(tmp_path, "m", [f"--model_config_file={path}"])
        assert done.stdout == f"Failed to start server. Error: {text}\n"

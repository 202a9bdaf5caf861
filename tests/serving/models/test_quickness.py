"""What is run in the calling thread, where nothing can end it: only what can't take long."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

from serving.engine.stateful import changing
from serving.models.quickness import Graph, Quickness
from serving.models.version import LoadOptions, Version
from tests.waiting import eventually


def test_nothing_is_expected_to_be_quick_before_it_was() -> None:
    quickness = Quickness(bounded=True)
    assert not quickness.expected(0)
    quickness.learn(100, 0.5, None)
    assert not quickness.expected(100)


def test_what_is_a_few_times_larger_than_what_was_quick_is_tried_there() -> None:
    quickness = Quickness(bounded=True)
    quickness.learn(100, 0.0005, None)
    assert quickness.expected(1)
    assert quickness.expected(1600)
    assert not quickness.expected(1601)
    for _ in range(3):
        assert quickness.expected(1000), "the first runs may be slow, as they are the first"
        quickness.learn(1000, 0.05, 0.05)
    assert quickness.expected(999), "it says nothing of smaller ones"
    assert not quickness.expected(1000)
    quickness.learn(900, 0.05, 0.0015)
    assert quickness.expected(900), "others had the processor meanwhile"
    quickness.learn(1200, 0.0005, None)
    assert quickness.expected(1200), "in TensorFlow's threads it was quick"


def test_a_run_that_took_long_all_the_same_takes_the_trust_away_for_longer_each_time() -> None:
    quickness = Quickness(bounded=True)
    for proofs in (1, 2, 4):
        for _ in range(proofs):
            assert not quickness.expected(100)
            quickness.learn(100, 0.0005, None)
        assert quickness.expected(100)
        quickness.learn(100, 0.5, 0.0005)


def test_a_pause_of_the_machine_takes_no_trust_away() -> None:
    quickness = Quickness(bounded=True)
    quickness.learn(100, 0.0005, None)
    quickness.learn(100, 0.05, 0.0005)
    assert quickness.expected(100)


def test_what_has_no_bound_is_never_expected_to_be_quick() -> None:
    quickness = Quickness(bounded=False)
    quickness.learn(100, 0.0005, None)
    assert not quickness.expected(1)


@pytest.mark.parametrize(
    ("kind", "signature", "bounded"),
    [
        ("kinds", "slow", False),
        ("kinds", "add", True),
        ("mnist", "serving_default", True),
        ("mnist", "image_bytes", False),
        ("examples", "serving_default", True),
    ],
)
def test_loops_of_a_graph_have_no_bound(
    models: Path, kind: str, signature: str, bounded: bool
) -> None:
    saved = saved_model_pb2.SavedModel.FromString((models / kind / "saved_model.pb").read_bytes())
    [meta_graph] = saved.meta_graphs
    outputs = meta_graph.signature_def[signature].outputs.values()
    graph = Graph(meta_graph.graph_def)
    assert graph.is_bounded([info.name for info in outputs]) is bounded


def test_loops_of_tensorflow_1_and_functions_that_call_themselves_have_no_bound() -> None:
    graph = graph_pb2.GraphDef()
    graph.node.add(name="x", op="Placeholder")
    graph.node.add(name="enter", op="Enter", input=["x"])
    graph.node.add(name="exit", op="Exit", input=["enter", "^x"])
    graph.node.add(name="twice", op="Add", input=["x", "x:0"])
    graph.node.add(name="called", op="again", input=["x"])
    function = graph.library.function.add()
    function.signature.name = "again"
    function.node_def.add(name="call", op="PartitionedCall").attr["f"].func.name = "again"
    bounds = Graph(graph)
    assert not bounds.is_bounded(["exit:0"])
    assert bounds.is_bounded(["twice:0", "x:0"])
    assert not bounds.is_bounded(["called:0"])


def test_what_takes_longer_with_one_thread_again_and_again_is_no_longer_expected_to_be_quick() -> (
    None
):
    quickness = Quickness(bounded=True)
    quickness.learn(100, 0.0005, None)
    for seconds in (0.02, 0.02, 0.0005, 0.02, 0.02, 0.02):
        quickness.learn(100, seconds, seconds)
    assert quickness.expected(100), "it was quick now and then"
    quickness.learn(100, 0.02, 0.02)
    assert not quickness.expected(100)


def test_operations_in_functions_are_found() -> None:
    graph = graph_pb2.GraphDef()
    graph.node.add(name="x", op="Placeholder")
    graph.node.add(name="call", op="StatefulPartitionedCall", input=["x"])
    graph.node[-1].attr["f"].func.name = "count"
    graph.node.add(name="other", op="Neg", input=["x"])
    loop = graph.node.add(name="loop", op="While", input=["x"])
    loop.attr["body"].func.name = "count"
    function = graph.library.function.add()
    function.signature.name = "count"
    function.node_def.add(name="add", op="AssignAddVariableOp")
    function.node_def.add(name="again", op="PartitionedCall").attr["f"].func.name = "count"
    found = Graph(graph)
    assert found.operations(["other:0"]) == {"Placeholder", "Neg"}
    assert found.operations(["call:0"]) == {
        *("Placeholder", "StatefulPartitionedCall", "AssignAddVariableOp", "PartitionedCall")
    }
    assert "AssignAddVariableOp" in found.operations(["loop:0"])
    assert "AssignAddVariableOp" in changing()
    assert "While" not in changing(), "it changes what its body changes"


@pytest.mark.parametrize(("threads", "single"), [(0, True), (1, False)])
def test_a_small_model_is_there_with_one_thread_within_operations_too(
    models: Path, threads: int, single: bool
) -> None:
    config = config_pb2.ConfigProto(intra_op_parallelism_threads=threads)
    version = Version("mnist", 1, models / "mnist")
    version.load(LoadOptions(session_config=config.SerializeToString()))
    try:
        assert (version.single is not None) is single
        signature = version.signatures["serving_default"]
        images = {"images": np.random.default_rng(0).random((3, 784), np.float32)}
        fetch = list(signature.outputs)
        first = version.run(signature, images, fetch, 0)
        for _ in range(3):  # At the latest the third one is quick.
            again = version.run(signature, images, fetch, 0)
        for name, array in first.items():
            np.testing.assert_allclose(again[name], array, rtol=1e-5)
    finally:
        version.close()


def test_no_request_waits_for_the_first_run_of_the_copy(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: the third request took 80 ms."""
    version = Version("mnist", 1, models / "mnist")
    version.load(LoadOptions())
    threads: list[str] = []
    single = version.single
    assert single is not None
    whole = single.run

    def run(*given: Any) -> Any:
        threads.append(threading.current_thread().name)
        return whole(*given)

    monkeypatch.setattr(single, "run", run)
    try:
        signature = version.signatures["serving_default"]
        images = {"images": np.random.default_rng(0).random((3, 784), np.float32)}

        def asked() -> bool:
            version.run(signature, images, list(signature.outputs), 0)
            return len(threads) > 1

        eventually(asked)
        assert threads == ["warm", threading.current_thread().name]
    finally:
        version.close()

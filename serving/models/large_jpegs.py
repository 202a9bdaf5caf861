"""Photos that a graph decodes to a part of their sides, and so in a part of their memory."""

from __future__ import annotations

from tensorflow.core.framework import graph_pb2


def are_shrunk(graph: graph_pb2.GraphDef) -> bool:
    """Say whether a graph decodes large JPEGs smaller, as `training.pictures` has it."""
    functions = (function.node_def for function in graph.library.function)
    return any(
        node.op == "DecodeJpeg" and node.attr["ratio"].i > 1
        for nodes in (graph.node, *functions)
        for node in nodes
    )

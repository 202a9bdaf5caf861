"""One version of a model: its signatures, loading it, running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from pathlib import Path

import numpy as np
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from ..batching.parameters import BatchingConfig
from ..batching.queue import BatchQueue
from ..batching.scheduler import BatchScheduler
from ..engine import stateful
from ..engine.saved_model import SavedModel
from ..errors import Code, ServingError
from . import animations, folders, large_jpegs
from .quickness import Graph
from .signature import DEFAULT_SIGNATURE, Signature

_SMALL_BYTES = 32 * 2**20
"""Of the files of a model that may be in memory twice: one that is quick has no more."""


class State(IntEnum):
    """`ModelVersionStatus.State` of `apis/get_model_status.proto`."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How every model of this server is found and loaded."""

    poll_seconds: float = 1
    """Between looks at the base path; 0: one look only; below 0: none."""
    retries: int = 5
    retry_seconds: float = 60
    tags: tuple[str, ...] = ("serve",)
    session_config: bytes = b""
    """Serialised `ConfigProto`."""
    warm_up: Callable[[Version], None] | None = None
    """Called with a loaded version before it is AVAILABLE; raises ServingError: the load failed."""
    check_method_names: bool = False
    """Whether requests must fit a signature's `method_name`, not only its inputs and outputs."""
    batching: BatchingConfig | None = None
    batch_scheduler: BatchScheduler = field(default_factory=lambda: BatchScheduler(1))
    """Shared by all models."""


@dataclass(eq=False)
class Version:
    """One version of a model; `Model` changes it under its lock. Loaded: `saved_model` is set."""

    model_name: str
    number: int
    path: Path
    state: State = State.START
    error: ServingError | None = None
    saved_model: SavedModel | None = None
    single: SavedModel | None = None
    """The same, with one thread within operations: for what is quick. Only of a small model."""
    signatures: dict[str, Signature] = field(default_factory=dict)
    check_method_names: bool = False
    files: folders.Fingerprint = ()
    """What was on disk when the last load began."""
    attempts: int = 0
    next_attempt: float = 0
    busy: bool = False
    """A thread loads it at this moment."""
    dropped: bool = False
    """It was not wanted at some time since it failed: wanted again, it is tried again."""
    leases: int = 0

    def signature(self, key: str) -> Signature | None:
        """Return a signature by its key; an empty key means `serving_default`."""
        return self.signatures.get(key or DEFAULT_SIGNATURE)

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        fetch: Sequence[str],
        timeout_ms: int,
    ) -> dict[str, np.ndarray]:
        """Run a signature of this version in the calling thread; only while it is leased.

        Args:
            signature: one of this version's, or one made of several.
            inputs: alias to value.
            fetch: aliases of the outputs to compute.
            timeout_ms: 0: no limit.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """
        assert self.saved_model is not None
        parts = {alias: [array] for alias, array in inputs.items()}
        return signature.run(self.saved_model, parts, fetch, timeout_ms)

    def load(self, options: LoadOptions) -> None:
        """Read the SavedModel from disk; takes as long as it takes.

        Raises:
            ServingError: it can't be loaded, or its files changed meanwhile.
        """
        self.files = folders.fingerprint(self.path)
        self.check_method_names = options.check_method_names
        batching = options.batching.of_version(self.path) if options.batching else None
        self.saved_model = SavedModel(self.path, options.tags, options.session_config)
        if folders.fingerprint(self.path) != self.files:
            raise ServingError(
                Code.UNAVAILABLE, f"The files in {self.path} changed while they were read."
            )
        meta_graph = meta_graph_pb2.MetaGraphDef.FromString(self.saved_model.take_meta_graph())
        graph = Graph(meta_graph.graph_def)
        no_animations = animations.write_past_memory(meta_graph.graph_def)
        shrinks_jpeg = large_jpegs.are_shrunk(meta_graph.graph_def)
        self.signatures = {
            key: Signature(
                key,
                # A part of a message keeps the whole of it in memory, here all of the graph.
                meta_graph_pb2.SignatureDef.FromString(definition.SerializeToString()),
                bounded=graph.is_bounded(info.name for info in definition.outputs.values()),
                no_animations=no_animations,
                shrinks_jpeg=shrinks_jpeg,
            )
            for key, definition in meta_graph.signature_def.items()
        }
        self.single = self._load_single(graph, options)
        for signature in self.signatures.values():
            signature.single = self.single
        if batching is not None:
            for signature in self.signatures.values():
                run = partial(signature.run, self.saved_model)
                signature.queue = BatchQueue(options.batch_scheduler, run, batching)

    def _load_single(self, graph: Graph, options: LoadOptions) -> SavedModel | None:
        """Load a small model once more, if two of it always give the same."""
        config = config_pb2.ConfigProto.FromString(options.session_config)
        if (
            config.intra_op_parallelism_threads == 1
            or sum(size for _, size, _ in self.files) > _SMALL_BYTES
            or not any(signature.is_bounded for signature in self.signatures.values())
        ):
            return None
        outputs = {info.name for one in self.signatures.values() for info in one.outputs.values()}
        if graph.operations(outputs) & stateful.changing():
            return None
        config.intra_op_parallelism_threads = 1
        single = SavedModel(self.path, options.tags, config.SerializeToString())
        single.take_meta_graph()
        return single

    def close(self) -> None:
        """Free what `load` took, also after it failed; nothing may run or follow."""
        signatures, self.signatures = self.signatures, {}
        for signature in signatures.values():
            signature.end()
        loaded = self.saved_model, self.single
        self.saved_model = self.single = None
        for saved_model in loaded:
            if saved_model is not None:
                saved_model.close()

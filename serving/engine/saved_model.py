"""A SavedModel in memory, which TensorFlow's C library loads and runs.

Tensors are numpy arrays here; string tensors are object arrays of `bytes`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from ctypes import c_char_p, c_void_p
from pathlib import Path

import numpy as np

from ..errors import InvalidArgument, ServingError
from .arrays import to_array, to_tensor
from .c_api import Library, Output, Status, library
from .operations import explained


class SavedModel:
    """A SavedModel in memory: `run` it from any number of threads, then `close` it once.

    Args:
        folder: holds `saved_model.pb` and `variables/`.
        tags: of the meta graph, as given when it was saved (`serve`).
        config: a serialised `tensorflow.ConfigProto` (thread counts); empty means defaults.

    Raises:
        ServingError: with TensorFlow's own code and text when the model cannot be loaded.
    """

    def __init__(self, folder: Path, tags: Sequence[str] = ("serve",), config: bytes = b"") -> None:
        self._lib = lib = library()
        self._outputs: dict[str, Output] = {}
        self._graph = lib.TF_NewGraph()
        # As in Python and TensorFlow Serving: many operations of others have no shape function.
        lib.TF_SetRequireShapeInferenceFns(self._graph, False)
        options = lib.TF_NewSessionOptions()
        meta_graph = lib.TF_NewBuffer()
        try:
            with Status(lib) as status:
                lib.TF_SetConfig(options, config, len(config), status.pointer)
                status.check()
                self._session = lib.TF_LoadSessionFromSavedModel(
                    options,
                    None,
                    str(folder).encode(),
                    (c_char_p * len(tags))(*[tag.encode() for tag in tags]),
                    len(tags),
                    self._graph,
                    meta_graph,
                    status.pointer,
                )
                status.check()
            buffer = meta_graph.contents
            self._meta_graph = ctypes.string_at(buffer.data, buffer.length)
        except ServingError as error:
            lib.TF_DeleteGraph(self._graph)
            raise explained(error) from None
        finally:
            lib.TF_DeleteBuffer(meta_graph)
            lib.TF_DeleteSessionOptions(options)

    def take_meta_graph(self) -> bytes:
        """Return the serialised `MetaGraphDef`, with the signatures; only once.

        It is as large as the graph, and would stay in memory with the model.
        """
        taken, self._meta_graph = self._meta_graph, b""
        return taken

    def run(
        self,
        feeds: Mapping[str, Sequence[np.ndarray]],
        fetches: Sequence[str],
        run_options: bytes = b"",
    ) -> list[np.ndarray]:
        """Run the graph once.

        Args:
            feeds: graph tensor name (`x:0`) to value: one array, or several of one type which
                differ in axis 0 alone, to be put one below the other.
            fetches: graph tensor names.
            run_options: a serialised `tensorflow.RunOptions` (time-out).

        Returns:
            One array per fetch, in that order.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """
        lib = self._lib
        n_in, n_out = len(feeds), len(fetches)
        inputs = (Output * n_in)(*map(self._output, feeds))
        outputs = (Output * n_out)(*map(self._output, fetches))
        input_values = (c_void_p * n_in)()
        output_values = (c_void_p * n_out)()
        options = lib.TF_NewBufferFromString(run_options, len(run_options)) if run_options else None
        try:
            for position, arrays in enumerate(feeds.values()):
                input_values[position] = to_tensor(lib, arrays)
            with Status(lib) as status:
                lib.TF_SessionRun(
                    self._session,
                    options,
                    inputs,
                    input_values,
                    n_in,
                    outputs,
                    output_values,
                    n_out,
                    None,
                    0,
                    None,
                    status.pointer,
                )
                status.check()
            return [to_array(lib, tensor) for tensor in output_values if tensor]
        finally:
            _delete(lib, input_values)
            _delete(lib, output_values)
            if options:
                lib.TF_DeleteBuffer(options)

    def close(self) -> None:
        """Free session and graph. No `run` may be under way or follow."""
        lib = self._lib
        with Status(lib) as status:
            lib.TF_CloseSession(self._session, status.pointer)
            lib.TF_DeleteSession(self._session, status.pointer)
        lib.TF_DeleteGraph(self._graph)

    def _output(self, name: str) -> Output:
        """Return the graph's tensor `operation:index`; a name without an index means output 0."""
        found = self._outputs.get(name)
        if found is None:
            operation, _, index = name.partition(":")
            pointer = self._lib.TF_GraphOperationByName(self._graph, operation.encode())
            if not pointer:
                raise InvalidArgument(f"Tensor {name} is not in the graph of the model.")
            # Threads may race here; they write equal values.
            found = self._outputs[name] = Output(pointer, int(index or 0))
        return found


def _delete(lib: Library, tensors: Iterable[int | None]) -> None:
    for tensor in tensors:
        if tensor:
            lib.TF_DeleteTensor(tensor)

"""Runs SavedModels through TensorFlow's C API, without importing the `tensorflow` package.

The C API (`tensorflow/c/c_api.h`) loads and runs a SavedModel by the same C++ code as TensorFlow
Serving (`LoadSavedModel`, `Session::Run`): run-time errors carry the same codes and texts, and
calls into it drop the GIL. It needs 0.4 s to load where `import tensorflow` needs 4 s.

Tensors are numpy arrays here; string tensors are object arrays of `bytes`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

import ml_dtypes
import numpy as np

from ..errors import Code, InvalidArgument, ServingError

STRING = 7
"""`DT_STRING`; the only supported type whose elements are not plain numbers."""

NUMPY_TYPES: dict[int, np.dtype] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    STRING: np.dtype(object),
    8: np.dtype(np.complex64),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype(np.uint16),
    18: np.dtype(np.complex128),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
"""`DataType` (`types.proto`) to numpy; the C API's `TF_DataType` has the same numbers."""

DATA_TYPES: dict[np.dtype, int] = {dtype: number for number, dtype in NUMPY_TYPES.items()}

_TSTRING_BYTES = 24
"""sizeof(TF_TString), fixed by `tsl/platform/ctstring_internal.h`."""


class _Output(ctypes.Structure):
    _fields_ = [("operation", c_void_p), ("index", c_int)]


class _Buffer(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p)]


_PROTOTYPES: dict[str, tuple[object, list[object]]] = {
    "TF_Version": (c_char_p, []),
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_StringInit": (None, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
    "TF_NewBuffer": (POINTER(_Buffer), []),
    "TF_NewBufferFromString": (POINTER(_Buffer), [c_char_p, c_size_t]),
    "TF_DeleteBuffer": (None, [POINTER(_Buffer)]),
    "TF_NewGraph": (c_void_p, []),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [
            c_void_p,
            POINTER(_Buffer),
            c_char_p,
            POINTER(c_char_p),
            c_int,
            c_void_p,
            POINTER(_Buffer),
            c_void_p,
        ],
    ),
    "TF_SessionRun": (
        None,
        [
            c_void_p,
            POINTER(_Buffer),
            POINTER(_Output),
            POINTER(c_void_p),
            c_int,
            POINTER(_Output),
            POINTER(c_void_p),
            c_int,
            c_void_p,
            c_int,
            c_void_p,
            c_void_p,
        ],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
}


def _package() -> ModuleSpec:
    # find_spec looks the package up without running its __init__.
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("tensorflow is not installed; see serving/requirements.txt.")
    return spec


def skip_tensorflow_import() -> None:
    """Make `tensorflow.core...` protos importable without running `tensorflow/__init__.py`.

    For a process that only serves: afterwards `import tensorflow` gives an empty package.
    Where TensorFlow is imported already (a test, a notebook) nothing changes.
    """
    if "tensorflow" not in sys.modules:
        sys.modules["tensorflow"] = importlib.util.module_from_spec(_package())


_SLOW = frozenset({"TF_LoadSessionFromSavedModel", "TF_SessionRun", "TF_CloseSession"})
"""Functions during which other threads may run Python. The others take less time than giving the
GIL away and getting it back, which each call would do a dozen times."""

_LARGE = 1 << 18
"""Bytes from which on a copy is slow in this sense, too: about 20 us."""


class _Library:
    """The C functions of `_PROTOTYPES`, as attributes."""

    def __init__(self) -> None:
        # Level 1 drops the advice on oneDNN and CPU instructions that each start would print.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
        folder = Path(_package().submodule_search_locations[0])  # type: ignore[index]
        suffix = ".2.dylib" if sys.platform == "darwin" else ".so.2"
        # The framework library must be global before the other: its symbols are resolved there.
        paths = [
            str(folder / name)
            for name in (f"libtensorflow_framework{suffix}", f"libtensorflow_cc{suffix}")
        ]
        slow = [ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in paths]
        quick = [ctypes.PyDLL(path, mode=ctypes.RTLD_GLOBAL) for path in paths]
        for name, (result, arguments) in _PROTOTYPES.items():
            handles = slow if name in _SLOW else quick
            function = next(getattr(handle, name) for handle in handles if hasattr(handle, name))
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> ctypes._NamedFuncPointer:
        raise AttributeError(name)


@cache
def library() -> _Library:
    """Load the C library once; later calls are free. Takes about 0.4 s and drops the GIL."""
    return _Library()


def version() -> str:
    """Return TensorFlow's version."""
    return str(library().TF_Version().decode())


class _Status:
    """A `TF_Status` that raises."""

    def __init__(self, lib: _Library) -> None:
        self._lib = lib
        self.pointer = lib.TF_NewStatus()

    def __enter__(self) -> _Status:
        return self

    def __exit__(self, *_: object) -> None:
        self._lib.TF_DeleteStatus(self.pointer)

    def check(self) -> None:
        code = self._lib.TF_GetCode(self.pointer)
        if code:
            message = self._lib.TF_Message(self.pointer).decode(errors="replace")
            raise ServingError(Code(code) if code <= 16 else Code.UNKNOWN, message)


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
        self._outputs: dict[str, _Output] = {}
        self._graph = lib.TF_NewGraph()
        options = lib.TF_NewSessionOptions()
        meta_graph = lib.TF_NewBuffer()
        try:
            with _Status(lib) as status:
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
            self.meta_graph: bytes = ctypes.string_at(buffer.data, buffer.length)
            """The serialised `MetaGraphDef`, with the signatures."""
        except ServingError:
            lib.TF_DeleteGraph(self._graph)
            raise
        finally:
            lib.TF_DeleteBuffer(meta_graph)
            lib.TF_DeleteSessionOptions(options)

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
        inputs = (_Output * n_in)(*map(self._output, feeds))
        outputs = (_Output * n_out)(*map(self._output, fetches))
        input_values = (c_void_p * n_in)()
        output_values = (c_void_p * n_out)()
        options = lib.TF_NewBufferFromString(run_options, len(run_options)) if run_options else None
        try:
            for position, arrays in enumerate(feeds.values()):
                input_values[position] = _to_tensor(lib, arrays)
            with _Status(lib) as status:
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
            return [_to_array(lib, tensor) for tensor in output_values if tensor]
        finally:
            _delete(lib, input_values)
            _delete(lib, output_values)
            if options:
                lib.TF_DeleteBuffer(options)

    def close(self) -> None:
        """Free session and graph. No `run` may be under way or follow."""
        lib = self._lib
        with _Status(lib) as status:
            lib.TF_CloseSession(self._session, status.pointer)
            lib.TF_DeleteSession(self._session, status.pointer)
        lib.TF_DeleteGraph(self._graph)

    def _output(self, name: str) -> _Output:
        """Return the graph's tensor `operation:index`; a name without an index means output 0."""
        found = self._outputs.get(name)
        if found is None:
            operation, _, index = name.partition(":")
            pointer = self._lib.TF_GraphOperationByName(self._graph, operation.encode())
            if not pointer:
                raise InvalidArgument(f"Tensor {name} is not in the graph of the model.")
            # Threads may race here; they write equal values.
            found = self._outputs[name] = _Output(pointer, int(index or 0))
        return found


def _delete(lib: _Library, tensors: Iterable[int | None]) -> None:
    for tensor in tensors:
        if tensor:
            lib.TF_DeleteTensor(tensor)


def _to_tensor(lib: _Library, arrays: Sequence[np.ndarray]) -> int:
    """Copy arrays into one new `TF_Tensor`: one memcpy each, as TensorFlow's own FromProto does.

    A view into an array would need a callback from TensorFlow's threads when an output shares it.
    """
    first = arrays[0]
    shape = first.shape
    if len(arrays) > 1:
        shape = (sum(map(len, arrays)), *shape[1:])
    data_type = DATA_TYPES[first.dtype]
    dims = (c_int64 * len(shape))(*shape)
    width = _TSTRING_BYTES if data_type == STRING else first.itemsize
    tensor: int = lib.TF_AllocateTensor(data_type, dims, len(shape), math.prod(shape) * width)
    if not tensor:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED, f"No memory for a tensor of shape {list(shape)}."
        )
    address = lib.TF_TensorData(tensor)
    for array in arrays:
        if data_type != STRING:
            array = np.ascontiguousarray(array)
            copy = _copy_slowly if array.nbytes > _LARGE else _copy
            copy(address, array.ctypes.data, array.nbytes)
            address += array.nbytes
            continue
        for value in array.flat:
            lib.TF_StringInit(address)
            lib.TF_StringCopy(address, value, len(value))
            address += _TSTRING_BYTES
    return tensor


_copy_slowly = ctypes.memmove
_copy = ctypes.PyDLL(None).memmove
_copy.restype = c_void_p
_copy.argtypes = [c_void_p, c_void_p, c_size_t]


def _to_array(lib: _Library, tensor: int) -> np.ndarray:
    """Copy a `TF_Tensor` into an array that outlives it."""
    data_type = lib.TF_TensorType(tensor)
    shape = [lib.TF_Dim(tensor, axis) for axis in range(lib.TF_NumDims(tensor))]
    address = lib.TF_TensorData(tensor)
    size = lib.TF_TensorByteSize(tensor)
    if data_type != STRING:
        dtype = NUMPY_TYPES.get(data_type)
        if dtype is None:
            raise ServingError(Code.UNIMPLEMENTED, f"Output of data type {data_type}.")
        return np.frombuffer(ctypes.string_at(address, size), dtype).reshape(shape)
    values = np.empty(size // _TSTRING_BYTES, dtype=object)
    for position in range(values.size):
        values[position] = ctypes.string_at(
            lib.TF_StringGetDataPointer(address), lib.TF_StringGetSize(address)
        )
        address += _TSTRING_BYTES
    return values.reshape(shape)

"""TensorFlow's C library, without importing the `tensorflow` package.

The C API (`tensorflow/c/c_api.h`) loads and runs a SavedModel by the same C++ code as TensorFlow
Serving (`LoadSavedModel`, `Session::Run`): run-time errors carry the same codes and texts, and
calls into it drop the GIL. It needs 0.4 s to load where `import tensorflow` needs 4 s.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from ctypes import POINTER, c_bool, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from ..errors import Code, ServingError


class Output(ctypes.Structure):
    """`TF_Output`: an output of an operation in a graph."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


class Buffer(ctypes.Structure):
    """`TF_Buffer`: bytes, such as a serialised message."""

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
    "TF_NewBuffer": (POINTER(Buffer), []),
    "TF_NewBufferFromString": (POINTER(Buffer), [c_char_p, c_size_t]),
    "TF_DeleteBuffer": (None, [POINTER(Buffer)]),
    "TF_NewGraph": (c_void_p, []),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_SetRequireShapeInferenceFns": (None, [c_void_p, c_bool]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_SetConfig": (None, [c_void_p, c_char_p, c_size_t, c_void_p]),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [
            c_void_p,
            POINTER(Buffer),
            c_char_p,
            POINTER(c_char_p),
            c_int,
            c_void_p,
            POINTER(Buffer),
            c_void_p,
        ],
    ),
    "TF_SessionRun": (
        None,
        [
            c_void_p,
            POINTER(Buffer),
            POINTER(Output),
            POINTER(c_void_p),
            c_int,
            POINTER(Output),
            POINTER(c_void_p),
            c_int,
            c_void_p,
            c_int,
            c_void_p,
            c_void_p,
        ],
    ),
    "TF_GetAllOpList": (POINTER(Buffer), []),
    "TF_LoadLibrary": (c_void_p, [c_char_p, c_void_p]),
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


class Library:
    """The C functions of `_PROTOTYPES`, as attributes."""

    def __init__(self) -> None:
        # Level 1 drops the advice on oneDNN and CPU instructions that each start would print.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
        # Threads within operations: of each session as many as its config says, not of all as many
        # as the first one's.
        os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "true")
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
def library() -> Library:
    """Load the C library once; later calls are free. Takes about 0.4 s and drops the GIL."""
    return Library()


def version() -> str:
    """Return TensorFlow's version."""
    return str(library().TF_Version().decode())


def load_operations(path: Path) -> None:
    """Load a shared library with operations that TensorFlow does not have; before their models.

    Raises:
        ServingError: it can't be loaded into this TensorFlow.
    """
    lib = library()
    with Status(lib) as status:
        lib.TF_LoadLibrary(str(path).encode(), status.pointer)
        status.check()


class Status:
    """A `TF_Status` that raises."""

    def __init__(self, lib: Library) -> None:
        self._lib = lib
        self.pointer = lib.TF_NewStatus()

    def __enter__(self) -> Status:
        return self

    def __exit__(self, *_: object) -> None:
        self._lib.TF_DeleteStatus(self.pointer)

    def check(self) -> None:
        """Raise the error that the last function left here, if it left one."""
        code = self._lib.TF_GetCode(self.pointer)
        if code:
            message = self._lib.TF_Message(self.pointer).decode(errors="replace")
            raise ServingError(Code(code) if code <= 16 else Code.UNKNOWN, message)

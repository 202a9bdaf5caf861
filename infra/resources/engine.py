"""What a provider's method tells the terminal of `pulumi up` while it works, and when it fails.

A method of a dynamic provider is given neither its resource's URN nor the call that it answers.
Both are in the frames below it: those of `pulumi.dynamic` and of gRPC.
"""

import functools
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import pulumi

from store.errors import StoreError

_Words = ParamSpec("_Words")
_Answer = TypeVar("_Answer")

EXPECTED = (StoreError, pulumi.RunError)
"""What a user can put right: the text says all that there is to say."""


@dataclass(frozen=True)
class _Call:
    """A call of Pulumi's engine that this thread answers."""

    urn: str
    context: Any
    """gRPC's `ServicerContext`."""


_calls = threading.local()
_interrupted = threading.Event()


def answering(method: Callable[_Words, _Answer]) -> Callable[_Words, _Answer]:
    """Return `method` of a provider, whose expected errors Pulumi gets in their own words.

    gRPC would begin each with "Exception calling application: ".
    """

    @functools.wraps(method)
    def answer(*args: _Words.args, **kwargs: _Words.kwargs) -> _Answer:
        before = getattr(_calls, "now", None)
        _calls.now = call = before or _call(sys._getframe(1))
        try:
            return method(*args, **kwargs)
        except EXPECTED as error:
            if call is not None:
                call.context.set_details(str(error))
            raise
        finally:
            _calls.now = before

    return answer


def in_this_call(function: Callable[_Words, _Answer]) -> Callable[_Words, _Answer]:
    """Return `function` for another thread, which tells what it tells beside the same resource."""
    call = getattr(_calls, "now", None)

    @functools.wraps(function)
    def carried(*args: _Words.args, **kwargs: _Words.kwargs) -> _Answer:
        _calls.now = call
        return function(*args, **kwargs)

    return carried


def stack() -> str | None:
    """Return the name of the stack that is worked on; None outside of a provider's method."""
    call: _Call | None = getattr(_calls, "now", None)
    # urn:pulumi:STACK::PROJECT::TYPE::NAME
    return None if call is None else call.urn.split(":")[2]


def tell(text: str, *, stays: bool = False) -> None:
    """Show a line beside the resource that is worked on, at once.

    The summary at the end repeats it if it `stays`. Outside of a provider's method it goes nowhere.
    """
    call: _Call | None = getattr(_calls, "now", None)
    if call is None:
        return
    from pulumi.runtime.proto import engine_pb2

    _engine().Log(
        engine_pb2.LogRequest(
            severity=engine_pb2.INFO, message=text, urn=call.urn, ephemeral=not stays
        )
    )


def end_with_it() -> None:
    """Let this process end with the engine that started it, even if that is killed.

    It would stay for ever, and finish what nobody waits for: an upload, a wait.
    """
    main = getattr(sys.modules["__main__"], "__spec__", None)
    if main is not None and main.name == "pulumi.dynamic.__main__":
        _watch()


@functools.cache
def _watch() -> None:
    threading.Thread(target=_await_end, daemon=True).start()


def _await_end() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    try:
        while True:
            # The engine waits for a request, until it ends; or two minutes, and then for another.
            with socket.create_connection((host, int(port))) as connection:
                while connection.recv(1024):
                    pass
    except OSError:
        os._exit(1)


def is_interrupted() -> bool:
    """Say whether Pulumi was told to stop, by Ctrl-C: who waits for something, ends soon then."""
    return _interrupted.is_set()


def pause(seconds: float) -> None:
    """Wait so long, or until Pulumi is told to stop."""
    _interrupted.wait(seconds)


def hear_interrupts() -> None:
    """Let `is_interrupted` know when Pulumi tells its plugins to stop.

    Python's dynamic provider answers that it has heard, and does nothing: an `up` that waits would
    go on until a second Ctrl-C, which leaves the stack's lock behind. Its method is bound to the
    server before any provider is loaded, so only its code can still be another one.
    """
    servicer = getattr(sys.modules["__main__"], "DynamicResourceProviderServicer", None)
    if servicer is not None:
        servicer.Cancel.__defaults__ = (_interrupted,)
        servicer.Cancel.__code__ = _cancel.__code__


def _cancel(_self: Any, _request: Any, _context: Any, interrupted: threading.Event) -> Any:
    """Take the place of `DynamicResourceProviderServicer.Cancel`, with that module's names."""
    import importlib

    interrupted.set()
    return importlib.import_module("google.protobuf.empty_pb2").Empty()


@functools.cache
def _engine() -> Any:
    """Return a client of the engine that started this process: its address is the argument."""
    import grpc
    from pulumi.runtime.proto import engine_pb2_grpc

    return engine_pb2_grpc.EngineStub(grpc.insecure_channel(sys.argv[1]))


def _call(frame: FrameType | None) -> _Call | None:
    """Return the call that `frame` was made for; None outside of Pulumi's plugin."""
    grpc = sys.modules.get("grpc")
    while grpc is not None and frame is not None:
        context, request = frame.f_locals.get("context"), frame.f_locals.get("request")
        if request is not None and isinstance(context, grpc.ServicerContext):
            return _Call(request.urn, context)
        frame = frame.f_back
    return None

"""The threads that answer requests, and a bound for the requests that wait for one.

TensorFlow Serving lets requests pile up; here the one too many is told at once to come back later,
while its client still waits and before the memory is full.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc

from .errors import Code, ServingError

_SERVICES = "/tensorflow.serving."


class RequestThreads(ThreadPoolExecutor):
    """Threads, and how many of the requests given to them have not begun.

    Args:
        threads: how many run side by side.
        most_waiting: how many more may wait.
        name: of the threads.
    """

    def __init__(self, threads: int, most_waiting: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._count = threading.Lock()
        self._unfinished = 0
        self._most = threads + most_waiting

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a request in a thread when one is free."""
        with self._count:
            self._unfinished += 1
        future = super().submit(fn, *args, **kwargs)
        # Also called for what was cancelled before it began.
        future.add_done_callback(self._finished)
        return future

    def refusal(self) -> ServingError | None:
        """Return the error for one more request; None: there is room."""
        return ServingError(Code.UNAVAILABLE, self.full) if self._unfinished >= self._most else None

    @property
    def full(self) -> str:
        """Return what a request is told for which there is no room."""
        return (
            f"{self._most} requests run or wait already, and --max_waiting_requests allows no "
            "more. Try again later."
        )

    def _finished(self, _: Future[Any]) -> None:
        with self._count:
            self._unfinished -= 1


class WaitingInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Answers UNAVAILABLE to predictions for which there is no room; never to health checks."""

    def __init__(self, threads: RequestThreads) -> None:
        self._threads = threads
        # In a thread of its own: it must not wait behind those that fill the queue.
        self._handler = grpc.unary_unary_rpc_method_handler(in_own_thread(self._refuse))

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the method's handler, or one that refuses."""
        if handler_call_details.method.startswith(_SERVICES) and self._threads.refusal():
            return self._handler
        return continuation(handler_call_details)

    def _refuse(self, _request: Any, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, self._threads.full)


def in_own_thread(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of a servicer that does not wait for the threads of all others."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        return method(request, context)

    # grpc reads this attribute; its own health service sets another of its kind.
    answer.experimental_thread_pool = ThreadPoolExecutor(1)  # type: ignore[attr-defined]
    return answer

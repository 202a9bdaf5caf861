"""The agents of one run's workers: they find each other, and each learns when another ends.

TensorFlow alone notices a lost worker within a minute, by an error, by an abort or, in code that
isn't made for several workers, never. So worker 0 keeps a connection to each of the others. All
begin when all are there; when one is lost, all stop, and begin again together.
"""

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from training.agent.connections import Peer, free_port, join_address, listen
from training.agent.membership import Membership
from training.command_line import TrainingError
from training.tf_config import format_tf_config

_CONNECT_SECONDS = 5.0
_HELLO_SECONDS = 10.0
_BUSY_SECONDS = 0.2
_RETRY_SECONDS = 0.5


class Workers:
    """This worker's view of the others. `join` and the rest are called in one thread.

    A round follows each call of `join`: all train until all are done, or one is lost.

    Args:
        run_hash: what all of them run.
        on_lost: called once a round, in another thread, when the round can't go on.
        is_published: says whether the run's model is published; then `join` waits for nobody.
        join_seconds: how long `join` waits for the others.
    """

    def __init__(
        self,
        membership: Membership,
        *,
        run_hash: str,
        on_lost: Callable[[], None],
        is_published: Callable[[], bool],
        join_seconds: float,
    ) -> None:
        self._me = membership
        self._run_hash = run_hash
        self._on_lost = on_lost
        self._is_published = is_published
        self._join_seconds = join_seconds
        self._changed = threading.Condition()
        self._waiting: dict[int, Peer] = {}
        """On worker 0: peers that asked to begin the next round. On any other worker: empty."""
        self._round: dict[int, Peer] = {}
        """Peers of the current round. On worker 0: all others. On any other worker: worker 0."""
        self._lost: str | None = None
        self._published = False
        self._closed = False
        self._listener: socket.socket | None = None
        if membership.index == 0:
            self._listener = listen(membership.chief_port)
            threading.Thread(target=self._accept, name="workers", daemon=True).start()

    @property
    def lost(self) -> str | None:
        """Why this round can't go on, as a sentence without its full stop; None while it can."""
        with self._changed:
            return self._lost

    def join(self) -> str | None:
        """Begin a round when all workers are there; return TF_CONFIG for it.

        Returns:
            None when the model has been published meanwhile.

        Raises:
            TrainingError: the others did not come in time.
        """
        with self._changed:
            for peer in self._round.values():
                # A peer that has not noticed the loss learns of it by this.
                peer.close()
            self._round, self._lost = {}, None
        until = time.monotonic() + self._join_seconds
        return self._gather(until) if self._me.index == 0 else self._ask(until)

    def tell_failure(self, status: int) -> None:
        """Tell the others that this one ends with an error of its own."""
        self._tell({"failed": status})

    def tell_published(self) -> None:
        """Tell the others that the model is published."""
        with self._changed:
            self._published = True
        self._tell({"published": True})

    def await_loss(self, seconds: float) -> bool:
        """Return whether this round is lost, as soon as it is, or after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._lost is not None, seconds)

    def await_published(self) -> bool:
        """Return when worker 0 has published (True) or this round is lost (False)."""
        with self._changed:
            self._changed.wait_for(lambda: self._published or self._lost is not None)
            return self._published

    def finish_round(self) -> None:
        """End the round without a loss: from now on the others may go."""
        with self._changed:
            self._round, finished = {}, self._round
            # They wait for `tell_published`, or for a new round.
            self._waiting = {**finished, **self._waiting}

    def close(self) -> None:
        """End all connections, which tells the others."""
        with self._changed:
            self._closed = True
            for peer in [*self._round.values(), *self._waiting.values()]:
                peer.close()
        if self._listener is not None:
            self._listener.close()

    # Worker 0.

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                with self._changed:
                    # All of the process' files may be open: a moment later some aren't.
                    if self._changed.wait_for(lambda: self._closed, _BUSY_SECONDS):
                        return
                continue
            threading.Thread(target=self._serve, args=(Peer(connection),), daemon=True).start()

    def _serve(self, peer: Peer) -> None:
        """Take one of the others in, and listen to it until its end."""
        hello = peer.hear(_HELLO_SECONDS)
        index = hello.get("index") if hello else None
        known = isinstance(index, int) and 0 < index < self._me.count
        # A port scanner, say, or a worker of another run.
        if not hello or not known or hello.get("run_hash") != self._run_hash:
            peer.close()
            return
        assert isinstance(index, int)
        peer.address = join_address(peer.host, hello.get("port", 0))
        with self._changed:
            if self._closed or self._published:
                peer.tell({"published": self._published})
                peer.close()
                return
            if older := self._waiting.get(index):
                older.close()
            self._waiting[index] = peer
            self._changed.notify_all()
            running = index in self._round
        if running:
            self._lose(f"Worker {index} was started anew")
        self._listen_to(index, peer)

    def _gather(self, until: float) -> str:
        others = range(1, self._me.count)
        with self._changed:
            while True:
                complete = self._changed.wait_for(
                    lambda: len(self._waiting) == len(others), until - time.monotonic()
                )
                if not complete:
                    raise TrainingError(
                        f"Of {self._me.count} workers, {_listed(set(others) - set(self._waiting))} "
                        f"did not come within {self._join_seconds:.0f} s. Nodes may have no "
                        "room for them: lower dlstack:nodeCount, or choose a smaller "
                        "dlstack:flavour. If nodes are made when they are needed, raise "
                        "dlstack:joinTimeout."
                    )
                self._round, self._waiting = self._waiting, {}
                addresses = [join_address(self._round[1].own_host, free_port())]
                addresses += [self._round[index].address for index in others]
                for index, peer in self._round.items():
                    if not peer.tell({"workers": addresses}):
                        self._lost = f"Worker {index} is gone"
                return format_tf_config(addresses, 0)

    # The others.

    def _ask(self, until: float) -> str | None:
        next_look = 0.0
        where = f"{self._me.chief_host}:{self._me.chief_port}"
        while time.monotonic() < until:
            # Its pod may have ended well, and its name be gone, while this one was started anew.
            if time.monotonic() >= next_look:
                if self._is_published():
                    return None
                next_look = time.monotonic() + 10 * _RETRY_SECONDS
            try:
                connection = socket.create_connection(
                    (self._me.chief_host, self._me.chief_port), _CONNECT_SECONDS
                )
            except OSError:
                # Not started yet, or its name not yet known.
                time.sleep(_RETRY_SECONDS)
                continue
            peer = Peer(connection)
            port = free_port()
            peer.tell({"run_hash": self._run_hash, "index": self._me.index, "port": port})
            answer = peer.hear(until - time.monotonic()) or {}
            if answer.get("published"):
                peer.close()
                return None
            if "workers" in answer:
                with self._changed:
                    self._round = {0: peer}
                threading.Thread(target=self._listen_to, args=(0, peer), daemon=True).start()
                return format_tf_config(answer["workers"], self._me.index)
            peer.close()
            time.sleep(_RETRY_SECONDS)
        raise TrainingError(
            f"Worker 0, asked at '{where}', had not gathered all workers within "
            f"{self._join_seconds:.0f} s. Nodes may have no room for them: lower "
            "dlstack:nodeCount, or choose a smaller dlstack:flavour. If nodes are made when they "
            "are needed, raise dlstack:joinTimeout."
        )

    # Both.

    def _listen_to(self, index: int, peer: Peer) -> None:
        reason = f"Worker {index} is gone"
        while message := peer.hear(None):
            if message.get("published"):
                with self._changed:
                    self._published = True
                    self._changed.notify_all()
                return
            if "failed" in message:
                reason = f"Worker {index} ended with status {message['failed']}, its log tells why"
                break
        peer.close()
        with self._changed:
            if self._waiting.get(index) is peer:
                del self._waiting[index]
            needed = self._round.get(index) is peer
        if needed:
            self._lose(reason)

    def _lose(self, reason: str) -> None:
        with self._changed:
            if self._lost is not None or self._closed:
                return
            self._lost = reason
            self._changed.notify_all()
        self._on_lost()

    def _tell(self, message: dict[str, Any]) -> None:
        with self._changed:
            peers = [*self._round.values(), *self._waiting.values()]
        for peer in peers:
            peer.tell(message)


def _listed(indexes: set[int]) -> str:
    return "worker" + "s" * (len(indexes) > 1) + " " + ", ".join(map(str, sorted(indexes)))

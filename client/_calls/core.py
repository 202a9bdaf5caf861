"""What the blocking and the asyncio client share: everything but waiting.

Each call is a generator of steps. A step is either a function of the transport, whose answer (or
PredictionError) goes back to the generator, or a pause. The clients differ only in how they carry
out steps, so metadata, fitting, deadlines and retries are written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from .. import about
from .._transports.base import (
    DEFAULT_PORTS,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    Deadline,
    Endpoint,
    TransportName,
    split_host,
)
from .._transports.tls import Security, Tls
from ..about import About
from ..errors import (
    ConnectionFailed,
    InvalidInput,
    PredictionError,
    ServerError,
    SettingsError,
)
from ..results import ModelStatus, Prediction
from ..specs import ModelMetadata, Signature

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from ..specs import Array

#: Seconds before the first retry and at most; each pause doubles. A pod that takes over from
#: another is there within a second, and an overloaded server is not helped by more requests.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0

#: TF's own, for variables' initial values; no request may call it.
_INIT_SIGNATURE = "__saved_model_init_op"

T = TypeVar("T")
#: The subclass's kind of transport.
Wire = TypeVar("Wire")


@dataclass(frozen=True, slots=True)
class Pause:
    """A step that waits."""

    seconds: float


#: Any: the transport blocks or returns awaitables, and each step has an answer of its own.
Step = Callable[[Any], Any] | Pause
Steps = Generator[Step, Any, T]


class ClientCore(Generic[Wire]):
    """Settings and calls of a client; the subclasses carry out the steps.

    Attributes:
        address: `host:port`.
        model, signature, timeout, retries: as given.
    """

    def __init__(
        self,
        host: str,
        model: str,
        *,
        port: int | None = None,
        transport: TransportName = "grpc",
        signature: str | None = None,
        version: int | None = None,
        version_label: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        tls: Tls | None = None,
        token: str | None = None,
    ) -> None:
        if transport not in DEFAULT_PORTS:
            raise SettingsError(f"Transport {transport!r} is unknown. Take grpc or rest.")
        host, own_port = split_host(host)
        if own_port is not None and port not in (None, own_port):
            raise SettingsError(f"Port {port} is given, and {own_port} with the host. Give one.")
        port = own_port if port is None else port
        port = DEFAULT_PORTS[transport] if port is None else port
        if not model or not model.isprintable():
            raise SettingsError(
                f"Model {model!r} is not the name of a model. "
                "Give the name under which the server has it."
            )
        if not 0 < port < 65536:
            raise SettingsError(f"Port {port} is not a TCP port. Give one from 1 to 65535.")
        if version is not None and not 0 <= version < 2**63:
            raise SettingsError(
                f"Version {version} is not a version number. Give one that the server has."
            )
        if version_label is not None and not version_label:
            raise SettingsError("The version label is empty. Give one the server knows, or none.")
        if version is not None and version_label is not None:
            raise SettingsError(
                f"Version {version} and version label {version_label!r} are both given. Give one."
            )
        if not (timeout > 0 and math.isfinite(timeout)):
            raise SettingsError(f"Timeout {timeout} is not a time. Give seconds above 0.")
        if retries < 0:
            raise SettingsError(f"Retries {retries} is negative. Give 0 for none.")
        endpoint = Endpoint(host, port, model, version, version_label)
        # What tells it from others; never the token.
        self._shown = f"{endpoint.address!r}, {model!r}, transport={transport!r}"
        for name, value in (("version", version), ("version_label", version_label)):
            self._shown += "" if value is None else f", {name}={value!r}"
        self._shown += f", signature={signature!r}" if signature else ""
        self._shown += ", tls" if tls else ""
        self.address = endpoint.address
        self.model = model
        self.signature = signature
        self.timeout = timeout
        self.retries = retries
        self._metadata: ModelMetadata | None = None
        self._transport = self._connect(transport, endpoint, Security(tls, token))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._shown}>"

    @classmethod
    def from_stack(
        cls,
        stack: str | None = None,
        *,
        folder: str | Path | None = None,
        transport: TransportName | None = None,
        model: str | None = None,
        signature: str | None = None,
        version: int | None = None,
        version_label: str | None = None,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> Self:
        """Return a client of a deployed stack: address, model, certificate and token are its.

        Without arguments it works in any folder. What variables such as DLSTACK_HOST say comes
        before the stack; which stack it is, `_settings.stack` says.

        Args:
            stack: its name; absent, the one that is selected, or that `make up` deployed.
            folder: of its Pulumi project; absent, the current one, if it is one.
            transport, model, signature, version, version_label, timeout, retries: as for `Client`.

        Raises:
            SettingsError: there is no such stack, or it cannot be read.
        """
        from .._settings.settings import from_surroundings

        given = {
            "transport": transport,
            "model": model,
            "signature": signature,
            "version": version,
            "label": version_label,
            "timeout": timeout,
            "retries": retries,
        }
        return cls(**from_surroundings(given, folder=folder, stack=stack).arguments())

    def _connect(self, transport: TransportName, endpoint: Endpoint, security: Security) -> Wire:
        raise NotImplementedError

    def _predict_steps(
        self,
        inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
        signature: str | None,
    ) -> Steps[Prediction]:
        from .._inputs.fit import fit

        deadline = Deadline(self.timeout)
        wanted = signature or self.signature
        for known in (self._metadata, None):
            if known is None:
                yield from self._fresh_metadata(deadline)
            with self._about(wanted or ""):
                try:
                    chosen = self._plain_choice(wanted)
                    with self._about(chosen.name):
                        arrays = fit(chosen, inputs)
                    break
                except InvalidInput:
                    if known is None:
                        raise
                    # Another version with other signatures may have taken over.
        return (yield from self._answer_steps(chosen, arrays, deadline))

    def _answer_steps(
        self, signature: Signature, arrays: Mapping[str, Array], deadline: Deadline
    ) -> Steps[Prediction]:
        """Ask for the answer to arrays that fit."""
        known = self._metadata
        with self._about(signature.name):
            try:
                outputs, version = yield from self._retried(
                    lambda transport: transport.predict(signature, arrays, deadline), deadline
                )
            except (ServerError, ConnectionFailed):
                self._forget(known)
                raise
        if version is not None and known is not None and version != known.version:
            self._forget(known)
        return Prediction(self.model, version, signature.name, outputs)

    def _forget(self, metadata: ModelMetadata | None) -> None:
        """Ask for metadata anew next time: that of another version may be another."""
        if self._metadata is metadata:
            self._metadata = None

    def _metadata_steps(self) -> Steps[ModelMetadata]:
        deadline = Deadline(self.timeout)
        with self._about(""):
            yield from self._fresh_metadata(deadline)
            return (yield from self._described(deadline))

    def _status_steps(self) -> Steps[ModelStatus]:
        deadline = Deadline(self.timeout)
        with self._about(""):
            answer: ModelStatus = yield from self._retried(
                lambda transport: transport.status(deadline), deadline
            )
        return answer

    def _choose_steps(self, signature: str | None) -> Steps[Signature]:
        wanted = signature or self.signature
        with self._about(wanted or ""):
            yield from self._fresh_metadata(Deadline(self.timeout))
            return self._plain_choice(wanted)

    def _plain_choice(self, wanted: str | None) -> Signature:
        from .._inputs.choice import Choice

        assert self._metadata is not None
        return Choice(self._metadata, wanted).plain()

    def _fresh_metadata(self, deadline: Deadline) -> Steps[ModelMetadata]:
        """Ask for the metadata, and keep it."""
        with self._about(""):
            answer = yield from self._retried(
                lambda transport: transport.metadata(deadline), deadline
            )
        signatures = {
            name: signature
            for name, signature in answer.signatures.items()
            if name != _INIT_SIGNATURE
        }
        self._metadata = ModelMetadata(answer.model, answer.version, signatures)
        return self._metadata

    def _described(self, deadline: Deadline) -> Steps[ModelMetadata]:
        """Return the metadata, with what the model says of itself."""
        metadata = self._metadata
        assert metadata is not None
        signature = metadata.signatures.get(about.SIGNATURE)
        if metadata.about is not None or signature is None or not signature.is_about:
            return metadata
        import numpy as np

        question = {about.QUESTION: np.array([b""], object)}
        try:
            outputs, _ = yield from self._retried(
                lambda transport: transport.predict(signature, question, deadline), deadline
            )
        except ServerError:
            return metadata  # Nothing but hints is lost.
        text = outputs[about.TEXT].ravel()
        said = about.read_about(text[0]) if len(text) else About()
        self._metadata = replace(metadata, about=said)
        return self._metadata

    def _retried(self, call: Callable[[Any], Any], deadline: Deadline) -> Steps[Any]:
        """Make a call, and again as long as the server is unavailable and there is time."""
        import random  # 8 ms.

        pause = _FIRST_PAUSE
        for left in range(self.retries, -1, -1):
            try:
                return (yield call)
            except PredictionError as exc:
                # Up to a quarter less, so that clients that failed together do not return so.
                seconds = pause * random.uniform(0.75, 1)
                if not left or not _unavailable(exc) or not deadline.allows(seconds):
                    raise
            yield Pause(seconds)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("The last try returns or raises.")

    @contextmanager
    def _about(self, signature: str) -> Iterator[None]:
        """Add host, model and signature to errors that pass: transports know only addresses."""
        try:
            yield
        except PredictionError as exc:
            exc.host, exc.model = self.address, self.model
            exc.signature = signature or exc.signature
            raise


def _unavailable(error: PredictionError) -> bool:
    """Whether this is what gRPC calls UNAVAILABLE: the only status that is safe to try again."""
    if isinstance(error, ServerError):
        return error.code == "UNAVAILABLE"
    return isinstance(error, ConnectionFailed) and error.transient

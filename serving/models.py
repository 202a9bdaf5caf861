"""Models and their versions: found on disk, loaded, leased to requests, unloaded.

Follows TensorFlow Serving's `sources/storage_path/file_system_storage_path_source.cc` (which
versions are wanted) and `core/availability_preserving_policy.cc` (new before old).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from .errors import (
    Code,
    InvalidArgument,
    NotFound,
    ServingError,
    as_serving_error,
)
from .runtime import SavedModel

log = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"
_QUICK_SECONDS = 0.001
_MAX_VERSION = 2**63 - 1


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


class Signature:
    """One signature of a loaded model.

    Attributes:
        key: its name in the SavedModel.
        definition: the `SignatureDef`.
        inputs, outputs: alias to `TensorInfo`, sorted by alias.
    """

    def __init__(self, key: str, definition: meta_graph_pb2.SignatureDef) -> None:
        self.key = key
        self.definition = definition
        self.inputs = dict(sorted(definition.inputs.items()))
        self.outputs = dict(sorted(definition.outputs.items()))
        self._quickest_seconds = float("inf")

    def run(
        self, model: SavedModel, inputs: Mapping[str, np.ndarray], fetch: Sequence[str], ms: int
    ) -> dict[str, np.ndarray]:
        """Run the graph from and to aliases, for at most `ms` milliseconds (0: no limit).

        A signature that has ever run within a millisecond runs in the calling thread: 45 us
        instead of 125 us for MNIST's linear model. Only TensorFlow's own threads can be told to
        give up, which such a short run does not need.
        """
        quick = self._quickest_seconds < _QUICK_SECONDS
        started = time.perf_counter()
        values = model.run(
            {self.inputs[alias].name: value for alias, value in inputs.items()},
            [self.outputs[alias].name for alias in fetch],
            _IN_CALLING_THREAD if quick else _run_options(ms),
        )
        if not quick:
            self._quickest_seconds = min(self._quickest_seconds, time.perf_counter() - started)
        return dict(zip(fetch, values, strict=True))


_IN_CALLING_THREAD = config_pb2.RunOptions(inter_op_thread_pool=-1).SerializeToString()


def _run_options(timeout_ms: int) -> bytes:
    options: bytes = config_pb2.RunOptions(timeout_in_ms=timeout_ms).SerializeToString()
    return options


@dataclass(eq=False)
class Version:
    """One version of a model; `Model` changes it under its lock. Loaded: `saved_model` is set."""

    model_name: str
    number: int
    path: Path
    state: State = State.START
    error: ServingError | None = None
    saved_model: SavedModel | None = None
    signatures: dict[str, Signature] = field(default_factory=dict)
    attempts: int = 0
    next_attempt: float = 0
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
        """Run a signature of this version; only while it is leased."""
        assert self.saved_model is not None
        return signature.run(self.saved_model, inputs, fetch, timeout_ms)

    def load(self, options: LoadOptions) -> None:
        """Read the SavedModel from disk; takes as long as it takes.

        Raises:
            ServingError: it can't be loaded.
        """
        saved_model = SavedModel(self.path, options.tags, options.session_config)
        meta_graph = meta_graph_pb2.MetaGraphDef.FromString(saved_model.meta_graph)
        self.signatures = {
            key: Signature(key, definition) for key, definition in meta_graph.signature_def.items()
        }
        self.saved_model = saved_model


class Model:
    """One served name: a thread looks for versions and keeps the newest one loaded."""

    def __init__(
        self,
        name: str,
        base_path: Path,
        options: LoadOptions,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._base_path = base_path
        self._options = options
        self._on_change = on_change
        self._changed = threading.Condition()
        self._versions: dict[int, Version] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, name=f"model {name}", daemon=True)

    def start(self) -> None:
        """Begin to look for versions and load them, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread once it has finished a load that is under way; loaded versions stay."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def wait_until_available(self) -> None:
        """Block until a version is AVAILABLE or `stop` is called.

        Raises:
            ServingError: the version wanted failed for good and no other is loaded.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self.available or self._failed())
            failed = None if self._stopping or self.available else self._failed()
        if failed is not None:
            assert failed.error is not None
            raise ServingError(
                Code.UNKNOWN,
                f"1 servable(s) did not become available: {{{{name: {self.name} version: "
                f"{failed.number}}} due to error: {failed.error}}}, }}",
            )

    @property
    def available(self) -> bool:
        """Whether a request without a version would find one."""
        return any(version.state == State.AVAILABLE for version in self._versions.values())

    @contextmanager
    def lease(self, number: int | None = None) -> Iterator[Version]:
        """Hold a loaded version, the highest if `number` is None; it is not unloaded meanwhile.

        Raises:
            NotFound: it is not loaded.
        """
        with self._changed:
            found = [
                version
                for version in self._versions.values()
                if version.state == State.AVAILABLE and number in (None, version.number)
            ]
            if not found:
                raise _no_servable(self.name, number)
            version = max(found, key=lambda version: version.number)
            version.leases += 1
        try:
            yield version
        finally:
            with self._changed:
                version.leases -= 1
                if not version.leases and version.state == State.UNLOADING:
                    self._changed.notify_all()

    def statuses(self) -> list[Version]:
        """Return every version ever seen by this process, highest first."""
        with self._changed:
            return sorted(self._versions.values(), key=lambda version: -version.number)

    def _watch(self) -> None:
        poll = self._options.poll_seconds
        while not self._stopping:
            # 0 means one look only, below 0 none at all.
            if poll >= 0:
                try:
                    self._reconcile()
                except Exception as error:  # The thread must outlive any surprise.
                    as_serving_error(error)
            with self._changed:
                retry = min(
                    (version.next_attempt for version in self._loading()), default=float("inf")
                )
                wait = max(0.0, retry - time.monotonic())
                wait = min(wait, poll) if poll > 0 else wait
                self._changed.wait_for(
                    lambda: self._stopping, timeout=None if wait == float("inf") else wait
                )

    def _reconcile(self) -> None:
        """Look at the base path once and bring what is loaded nearer to what is wanted."""
        found = self._find()
        if found is None:
            return
        if not found:
            log.warning(
                "No versions of servable %s found under base path %s. Did you forget to name your "
                "leaf directory as a number (eg. '/1/')?",
                self.name,
                self._base_path,
            )
        wanted = max(found, default=None)
        with self._changed:
            for version in self._versions.values():
                if version.number != wanted and version.state == State.LOADING:
                    version.state = State.END  # No more tries: something newer is wanted.
                if version.number not in found:
                    version.error = None  # It may come back mended under the same number.
            if wanted is not None:
                known = self._versions.get(wanted)
                if known is None or (known.state == State.END and not known.error):
                    self._versions[wanted] = Version(self.name, wanted, found[wanted])
        if wanted is not None and not self._load(self._versions[wanted]):
            return
        self._unload_all_but(wanted)

    def _find(self) -> dict[int, Path] | None:
        """Return the folders named as numbers; None when the base path can't be read."""
        found: dict[int, Path] = {}
        try:
            children = sorted(self._base_path.iterdir())
        except OSError as error:
            log.error(
                "FileSystemStoragePathSource encountered a filesystem access error: "
                "Could not find base path %s for servable %s: %s",
                self._base_path,
                self.name,
                error,
            )
            return None
        for child in children:
            if child.name.isascii() and child.name.isdigit() and int(child.name) <= _MAX_VERSION:
                if int(child.name) in found:
                    log.warning("Two folders for version %s of %s.", int(child.name), self.name)
                found[int(child.name)] = child
        return found

    def _load(self, version: Version) -> bool:
        """Load a version if its time has come; return whether it serves."""
        if version.state in (State.START, State.LOADING):
            if time.monotonic() < version.next_attempt:
                return False
            self._set_state(version, State.LOADING)
            started = time.monotonic()
            try:
                version.load(self._options)
            except Exception as error:
                self._load_failed(version, as_serving_error(error))
                return False
            self._set_state(version, State.AVAILABLE)
            log.info(
                "Successfully loaded servable version {name: %s version: %d} in %.2f s",
                self.name,
                version.number,
                time.monotonic() - started,
            )
        return version.state == State.AVAILABLE

    def _load_failed(self, version: Version, error: ServingError) -> None:
        version.attempts += 1
        log.error(
            "Loading servable {name: %s version: %d} failed, try %d of %d: %s",
            self.name,
            version.number,
            version.attempts,
            self._options.retries + 1,
            error,
        )
        if version.attempts <= self._options.retries:
            version.next_attempt = time.monotonic() + self._options.retry_seconds
        else:
            with self._changed:
                version.error = error
            self._set_state(version, State.END)

    def _unload_all_but(self, wanted: int | None) -> None:
        for version in list(self._versions.values()):
            if version.number != wanted and version.state == State.AVAILABLE:
                self._set_state(version, State.UNLOADING)
                # Requests under way may take long; the next version must not wait for them.
                threading.Thread(target=self._unload, args=(version,), daemon=True).start()

    def _unload(self, version: Version) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not version.leases)
            saved_model, version.saved_model = version.saved_model, None
        assert saved_model is not None
        saved_model.close()
        self._set_state(version, State.END)
        log.info("Unloaded servable version {name: %s version: %d}", self.name, version.number)

    def _set_state(self, version: Version, state: State) -> None:
        with self._changed:
            version.state = state
            self._changed.notify_all()
        self._on_change()

    def _loading(self) -> list[Version]:
        return [v for v in self._versions.values() if v.state == State.LOADING]

    def _failed(self) -> Version | None:
        return next((v for v in self._versions.values() if v.error is not None), None)


class Models:
    """All models of the server, by name."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = {model.name: model for model in models}

    def start(self) -> None:
        """Start to load every model."""
        for model in self._models.values():
            model.start()

    def stop(self) -> None:
        """Stop looking for versions, and release whoever waits for one."""
        for model in self._models.values():
            model.stop()

    def wait_until_available(self) -> None:
        """Block until every model has a version that serves; see `Model`."""
        for model in self._models.values():
            model.wait_until_available()

    @property
    def available(self) -> bool:
        """Whether every model has a version that serves."""
        return all(model.available for model in self._models.values())

    @contextmanager
    def lease(self, name: str, number: int | None = None, label: str = "") -> Iterator[Version]:
        """Hold the version a request asks for.

        Raises:
            ServingError: as TensorFlow Serving for a name, version or label that is not there.
        """
        if not name:
            raise InvalidArgument("ModelSpec has no name specified.")
        if label:
            raise InvalidArgument(f"Unrecognized servable version label: {label}")
        model = self._models.get(name)
        if model is None:
            raise _no_servable(name, number)
        with model.lease(number) as version:
            yield version

    def statuses(self, name: str, number: int | None = None) -> list[Version]:
        """Return the versions of a model, highest first, or the one asked for.

        Raises:
            NotFound: there is none.
        """
        model = self._models.get(name)
        versions = model.statuses() if model else []
        if number is not None:
            versions = [version for version in versions if version.number == number]
            if not versions:
                raise NotFound(f"Could not find version {number} of model {name}")
        if not versions:
            raise NotFound(f"Could not find any versions of model {name}")
        return versions


def _no_servable(name: str, number: int | None) -> NotFound:
    wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
    return NotFound(f"Servable not found for request: {wanted}")

"""All models of the server by name, and the list of them, which can be replaced at any time.

Follows TensorFlow Serving's `model_servers/server_core.cc`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from tensorflow_serving.config import model_server_config_pb2

from .. import machine
from ..errors import Code, FailedPrecondition, InvalidArgument, NotFound, ServingError
from . import settings as model_config
from .lifecycle import Lease, Model, Slots, no_servable
from .settings import ModelSettings
from .version import LoadOptions, Version

log = logging.getLogger(__name__)


class Models:
    """What the server serves; see `Model` for one name.

    Args:
        options: how every model is loaded.
        early_labels: whether a new label may name a version that is not available.
        callers_replace: whether whoever reaches a port may replace the list.
        load_threads, unload_threads: so many at a time once the first models are loaded.
        on_change: called after a change of any version's state, from any thread.
    """

    def __init__(
        self,
        options: LoadOptions,
        *,
        early_labels: bool = False,
        callers_replace: bool = True,
        load_threads: int = 0,
        unload_threads: int = 0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._early_labels = early_labels
        self.callers_replace = callers_replace
        self._load_threads = max(1, load_threads)
        self._loads = Slots(4 * machine.cpus())
        self._unloads = Slots(max(1, unload_threads))
        self._on_change = on_change
        self._models: dict[str, Model] = {}
        self._labels: dict[tuple[str, str], int] = {}
        """Model name and label to version number."""
        self._replacing = threading.Lock()

    def replace(self, message: model_server_config_pb2.ModelServerConfig) -> list[str]:
        """Serve the models that a message lists, and no others.

        Returns:
            The names that were not served before. Their first versions are being loaded.

        Raises:
            ServingError: the list is refused; nothing has changed.
        """
        with self._replacing:
            if message.WhichOneof("config") is None:
                log.info("Taking no action for empty config.")
                return []
            before = self._configured()
            settings = model_config.read(message, known=before)
            self._labels = self._new_labels(settings)
            names = {one.name for one in settings}
            for name in before:
                if name not in names:
                    log.info("Removing model: %s", name)
                    self._models[name].configure(None)
            for one in settings:
                log.info(" (Re-)adding model: %s", one.name)
                if one.name not in self._models:
                    # A new dict: requests read the one that is there without a lock.
                    self._models = self._models | {one.name: self._model(one.name)}
                self._models[one.name].configure(one)
            return [one.name for one in settings if one.name not in before]

    def first_models_loaded(self) -> None:
        """Keep to `load_threads` from now on."""
        self._loads.set_limit(self._load_threads)

    def stop(self) -> None:
        """Stop looking for versions, and release whoever waits for one."""
        for model in self._models.values():
            model.stop()

    def wait_until_available(
        self,
        names: Iterable[str],
        what: str = "servable(s)",
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Block until each of these models has a version that serves; see `Model`.

        Args:
            names: of models.
            what: the error calls them.
            given_up: whether nobody waits any longer; `wake` has it asked again.

        Raises:
            ServingError: some of them failed for good.
        """
        waited = [self._models[name].wait_until_available(given_up) for name in names]
        failed = [version for version in waited if version is not None]
        if failed:
            texts = "".join(
                f"{{{{name: {version.model_name} version: {version.number}}} "
                f"due to error: {version.error}}}, "
                for version in failed
            )
            raise ServingError(
                Code.UNKNOWN, f"{len(failed)} {what} did not become available: {{{texts}}}"
            )

    def wake(self) -> None:
        """Have `wait_until_available` ask whether anybody waits."""
        for model in self._models.values():
            model.wake()

    @property
    def available(self) -> bool:
        """Whether every model has a version that serves."""
        return all(self._models[name].available for name in self._configured())

    def metric_name(self, name: str) -> str:
        """Return a model's name for metrics; empty for one that was never served.

        Whatever clients make up must not fill the memory.
        """
        return name if name in self._models else ""

    def lease(self, name: str, number: int | None = None, label: str = "") -> Lease:
        """Hold the version a request asks for.

        Raises:
            ServingError: as TensorFlow Serving for a name, version or label that is not there.
        """
        if not name:
            raise InvalidArgument("ModelSpec has no name specified.")
        if label:
            number = self._labels.get((name, label))
            if number is None:
                raise InvalidArgument(f"Unrecognized servable version label: {label}")
        model = self._models.get(name)
        if model is None:
            raise no_servable(name, number)
        return Lease(model, number)

    def statuses(self, name: str, number: int | None = None) -> list[Version]:
        """Return the versions of a model, highest first, or the one asked for.

        Raises:
            ServingError: no name given, or there is no such model or version.
        """
        if not name:
            raise InvalidArgument("ModelSpec has no name specified.")
        model = self._models.get(name)
        versions = model.statuses() if model else []
        if number is not None:
            versions = [version for version in versions if version.number == number]
            if not versions:
                raise NotFound(f"Could not find version {number} of model {name}")
        if not versions:
            raise NotFound(f"Could not find any versions of model {name}")
        return versions

    def _configured(self) -> list[str]:
        return [name for name, model in self._models.items() if model.configured]

    def _model(self, name: str) -> Model:
        return Model(name, self._options, self._loads, self._unloads, self._on_change)

    def _new_labels(self, settings: Iterable[ModelSettings]) -> dict[tuple[str, str], int]:
        labels: dict[tuple[str, str], int] = {}
        for model in settings:
            for label, number in model.labels.items():
                known = self._models.get(model.name)
                moved = self._labels.get((model.name, label), number) != number
                early = self._early_labels and not moved
                if not early and not (known and known.is_available(number)):
                    raise FailedPrecondition(
                        f"Request to assign label to version {number} of model {model.name}, "
                        "which is not currently available for inference"
                    )
                labels[model.name, label] = number
        return labels

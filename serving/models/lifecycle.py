"""One served name: its versions are found on disk, loaded, leased to requests, unloaded.

Which version is loaded or unloaded next follows TensorFlow Serving's
`core/availability_preserving_policy.cc`: new before old.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .. import metrics
from ..engine import memory
from ..engine.operations import MissingOperation
from ..errors import NotFound, ServingError, as_serving_error
from . import folders
from .settings import ModelSettings
from .version import LoadOptions, State, Version

log = logging.getLogger(__name__)


class Slots:
    """How many loads, or unloads, of all models run side by side."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._changed = threading.Condition()

    def set_limit(self, limit: int) -> None:
        """Change the number; those that run are not disturbed."""
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._taken < self._limit)
            self._taken += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()


class Lease:
    """Holds a loaded version for a request: inside, it is not unloaded. See `Model.take`."""

    def __init__(self, model: Model, number: int | None) -> None:
        self._model = model
        self._number = number

    def __enter__(self) -> Version:
        self._version = self._model.take(self._number)
        return self._version

    def __exit__(self, *_: object) -> None:
        self._model.give_back(self._version)

    def again(self) -> Lease:
        """Return another, of the same version, that is entered already."""
        other = Lease(self._model, self._number)
        other._version = self._version
        self._model.take_again(self._version)
        return other


class Model:
    """A thread looks for versions below the base path and keeps those wanted loaded.

    It ends when the name is no longer to be served: whoever makes up names again and again would
    run the server out of threads.
    """

    def __init__(
        self,
        name: str,
        options: LoadOptions,
        loads: Slots,
        unloads: Slots,
        on_change: Callable[[], None],
    ) -> None:
        self.name = name
        self._options = options
        self._loads = loads
        self._unloads = unloads
        self._on_change = on_change
        self._changed = threading.Condition()
        self._settings: ModelSettings | None = None
        self._versions: dict[int, Version] = {}
        self._wanted: set[int] = set()
        self._look_again = False
        self._ended = False
        self._remarks: list[str] = []
        self._stopping = False
        self._watched = False
        """Whether the thread runs that looks for versions."""

    @property
    def configured(self) -> bool:
        """Whether this name is to be served; one that is not keeps its versions' states."""
        return self._settings is not None

    def configure(self, settings: ModelSettings | None) -> None:
        """Serve what the settings say from now on; None: nothing, which takes effect at once."""
        with self._changed:
            self._settings = settings
            self._look_again = True
            if settings is None:
                self._wanted = set()
                self._advance()
            elif not self._watched:
                self._watched = True
                threading.Thread(target=self._watch, name=f"model {self.name}", daemon=True).start()
            self._changed.notify_all()
        self._on_change()

    def stop(self) -> None:
        """End the thread, and release whoever waits for a version; loaded versions stay."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def wait_until_available(self, given_up: Callable[[], bool]) -> Version | None:
        """Block until a version is AVAILABLE, or `stop` is called, or nobody waits any longer.

        Args:
            given_up: whether the caller has lost interest; `wake` has it asked again.

        Returns:
            A version that failed for good when no wanted one can be loaded, else None.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or given_up() or self.available or self._failed()
            )
            return None if self._stopping or self.available else self._failed()

    def wake(self) -> None:
        """Have `wait_until_available` look at its conditions again."""
        with self._changed:
            self._changed.notify_all()

    @property
    def available(self) -> bool:
        """Whether a request without a version would find one."""
        with self._changed:
            return any(version.state == State.AVAILABLE for version in self._versions.values())

    def is_available(self, number: int) -> bool:
        """Whether this very version serves."""
        with self._changed:
            version = self._versions.get(number)
            return version is not None and version.state == State.AVAILABLE

    def take(self, number: int | None) -> Version:
        """Return a loaded version, the highest if `number` is None, and keep it until `give_back`.

        Raises:
            NotFound: it is not loaded.
        """
        with self._changed:
            found = None
            for version in self._versions.values():
                # Spelled out: each request comes through here.
                if (
                    version.state is State.AVAILABLE
                    and (number is None or version.number == number)
                    and (found is None or version.number > found.number)
                ):
                    found = version
            if found is None:
                raise no_servable(self.name, number)
            found.leases += 1
        return found

    def take_again(self, version: Version) -> None:
        """Keep a version that was taken until one more `give_back`."""
        with self._changed:
            version.leases += 1

    def give_back(self, version: Version) -> None:
        """End what `take` began: the version may be unloaded, unless others have taken it."""
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
        while True:
            with self._changed:
                settings, asked = self._settings, self._look_again
                if self._stopping or settings is None:
                    self._watched = False
                    return
                self._look_again = False
            pause = poll if poll > 0 else float("inf")
            # 0 means one look only, below 0 none at all.
            if poll > 0 or (asked and poll == 0):
                try:
                    if not self._look(settings):
                        pause = min(pause, folders.SETTLE_SECONDS)
                except Exception as error:  # The thread must outlive any surprise.
                    as_serving_error(error)
            with self._changed:
                self._advance()
                self._ended = False
                attempts = [v.next_attempt for v in self._versions.values() if v.next_attempt]
                pause = min([pause, *(max(0, at - time.monotonic()) for at in attempts)])
                self._changed.wait_for(
                    lambda: self._stopping or self._look_again or self._ended,
                    timeout=None if pause == float("inf") else pause,
                )
            self._on_change()

    def _look(self, settings: ModelSettings) -> bool:
        """Look at the base path once and decide what is wanted.

        Returns:
            Whether all that is wanted is there in full; else the next look should be soon.
        """
        try:
            found, remarks = folders.find(settings.base_path)
        except OSError as error:
            log.error(
                "FileSystemStoragePathSource encountered a filesystem access error: "
                "Could not find base path %s for servable %s: %s",
                settings.base_path,
                self.name,
                error,
            )
            return True
        for number in sorted(settings.policy.specific - found.keys()):
            remarks.append(
                f"Version {number} of servable {self.name}, which was requested to be served as a "
                "'specific' version in the servable's version policy, was not found in the file "
                "system."
            )
        if remarks != self._remarks:
            for remark in remarks:
                log.warning("%s", remark)
            self._remarks = remarks
        if not found:
            log.warning(
                "No versions of servable %s found under base path %s. Did you forget to name your "
                "leaf directory as a number (eg. '/1/')?",
                self.name,
                settings.base_path,
            )
        wanted = settings.policy.choose(found)
        with self._changed:
            known = {number: self._versions.get(number) for number in wanted}
        all_whole = True
        fresh: list[Version] = []
        for number, version in known.items():
            if version is not None and (
                version.busy or version.state not in (State.LOADING, State.END)
            ):
                continue
            files = folders.fingerprint(found[number])
            if self._options.poll_seconds and not folders.is_settled(files):
                all_whole = False
            elif (
                version is None
                or version.path != found[number]
                or (
                    version.state == State.END
                    and (version.error is None or version.dropped or version.files != files)
                )
            ):
                fresh.append(Version(self.name, number, found[number]))
            elif version.state == State.LOADING and not version.busy and version.files != files:
                # Mended, or only now complete: what failed before says nothing about it.
                version.attempts, version.next_attempt = 0, 0
        with self._changed:
            if self._settings is settings:
                self._wanted = wanted
                self._versions |= {version.number: version for version in fresh}
        return all_whole

    def _advance(self) -> None:
        """Start what brings the loaded versions nearer to the wanted ones; the lock is held."""
        for version in self._versions.values():
            if version.number not in self._wanted and not version.busy:
                if version.state in (State.START, State.LOADING):
                    version.state, version.next_attempt = State.END, 0
                version.dropped = version.dropped or version.state == State.END
        serving = sorted(
            (v for v in self._versions.values() if v.state == State.AVAILABLE),
            key=lambda version: version.number,
        )
        surplus = [version for version in serving if version.number not in self._wanted]
        if self._wanted and len(surplus) == len(serving):
            surplus = surplus[:-1]  # The newest goes on until a wanted one serves.
        for version in surplus:
            version.state = State.UNLOADING
            # Requests under way may take long; nothing else must wait for them.
            threading.Thread(target=self._unload, args=(version,), daemon=True).start()
        for number in sorted(self._wanted & self._versions.keys(), reverse=True):
            version = self._versions[number]
            due = time.monotonic() >= version.next_attempt and not self._stopping
            if version.state in (State.START, State.LOADING) and not version.busy and due:
                version.busy, version.next_attempt = True, 0
                version.state = State.LOADING
                threading.Thread(target=self._load, args=(version,), daemon=True).start()

    def _load(self, version: Version) -> None:
        error = None
        with self._loads:
            started = time.monotonic()
            if version.number in self._wanted:
                try:
                    self._load_and_warm_up(version)
                except Exception as failure:
                    error = as_serving_error(failure)
                    version.close()
                memory.give_back()
        with self._changed:
            version.busy = False
            if error is not None:
                self._load_failed(version, error)
            elif version.saved_model is not None:
                version.state = State.AVAILABLE
                log.info(
                    "Successfully loaded servable version {name: %s version: %d} in %.2f s",
                    self.name,
                    version.number,
                    time.monotonic() - started,
                )
            self._advance()
            self._ended = True
            self._changed.notify_all()
        self._on_change()

    def _load_and_warm_up(self, version: Version) -> None:
        path, started = str(version.path), time.perf_counter()
        status = "fail"
        try:
            version.load(self._options)
            status = "success"
        finally:
            metrics.LOAD_ATTEMPTS.add(path, status)
            microseconds = int((time.perf_counter() - started) * 1e6)
            metrics.LOAD_LATENCY.add(path, amount=microseconds)
        if self._options.warm_up is not None:
            self._options.warm_up(version)

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
        if version.attempts <= self._options.retries and not isinstance(error, MissingOperation):
            version.next_attempt = time.monotonic() + self._options.retry_seconds
        else:
            version.error = error
            version.state = State.END

    def _unload(self, version: Version) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not version.leases)
        with self._unloads:
            version.close()
            memory.give_back()
        with self._changed:
            version.state = State.END
            self._look_again = self._look_again or version.number in self._wanted
            self._changed.notify_all()
        log.info("Unloaded servable version {name: %s version: %d}", self.name, version.number)
        self._on_change()

    def _failed(self) -> Version | None:
        """Return a version that failed when all that are wanted did."""
        wanted = [self._versions.get(number) for number in sorted(self._wanted)]
        failed = [one for one in wanted if one is not None and one.error and not one.dropped]
        return failed[-1] if failed and len(failed) == len(wanted) else None


def no_servable(name: str, number: int | None) -> NotFound:
    """Return the error for a request whose version is not loaded."""
    wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
    return NotFound(f"Servable not found for request: {wanted}")

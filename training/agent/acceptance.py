"""What a model has to pass before it is published, and whether another pod has published it."""

import argparse
from collections.abc import Callable, Mapping

from store.client import Client
from store.errors import NoObject
from store.models import Damaged, Found, Version, newest_of_run, published, read_manifest
from store.patience import Patience
from store.urls import S3Url
from training.agent.regression import Served, served_version


class Acceptance:
    """The bars of one run, and the versions of its model."""

    def __init__(
        self,
        options: argparse.Namespace,
        client: Client,
        patience: Patience,
        model_url: S3Url,
    ) -> None:
        """Begin.

        Args:
            options: the agent's: `run_hash`, `boot_file` and the bars.
            client: of the store.
            patience: with a store that does not answer.
            model_url: below which versions are published.
        """
        self._options = options
        self._client = client
        self._patience = patience
        self._model_url = model_url
        self._before: set[int] = set()
        """Numbers of the versions that were there at the start, if one of them is damaged."""

    def published(self) -> Found:
        """Return the run's version that is published, and which are damaged.

        All of it is read: what is served next is worth it, and this run alone can mend it.
        """
        found = self._patience.ask(
            lambda: newest_of_run(
                self._client, self._model_url, self._options.run_hash, thoroughly=True
            )
        )
        if found.damaged:
            listed = self._patience.ask(lambda: published(self._client, self._model_url))
            self._before = {one.number for one in listed}
        return found

    def published_meanwhile(self) -> Version | None:
        """Return the version that another pod of this run has published since; None: none has.

        Kubernetes starts another one for a pod whose node is cut off, and both may come to the end.
        """
        version = newest_of_run(self._client, self._model_url, self._options.run_hash).version
        return None if version is None or version.number in self._before else version

    def check_bars(self, metrics: Mapping[str, float]) -> None:
        """Raise TrainingError when a metric is missing or misses its bar."""
        for bar in self._options.bars:
            bar.check(metrics, self._options.boot_file)

    def check_regressions(
        self, metrics: Mapping[str, float], say: Callable[[str], None], patience: Patience
    ) -> None:
        """Raise TrainingError when the model is worse than the one that serves now."""
        options = self._options
        if not options.regressions or options.served is None:
            return
        number = served_version(options.served, self._model_url.prefix.rpartition("/")[2])
        if number is None:
            say("Nothing of this model serves yet: dlstack:maxRegression has no measure")
            return
        try:
            manifest = patience.ask(
                lambda: read_manifest(self._client, self._model_url / str(number))
            )
        except (Damaged, NoObject) as error:
            say(f"Version {number}, which serves, can't be compared with: {error}")
            return
        served = Served(number, manifest.metrics)
        for one in options.regressions:
            say(one.check(metrics, served, options.boot_file))

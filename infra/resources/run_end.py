"""Wait until a training run has ended well, or has published. Its path is part of stacks' state.

Pulumi's Kubernetes plugin waits for Jobs as well, but says nothing meanwhile, and makes an `up`
that was killed wait for another Job. So it is told not to wait (`names.SKIP_AWAIT`).
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from ..cluster import api, ending, names, why
from ..cluster.clusters import Cluster
from ..cluster.jobs import (
    end_in_words,
    end_of,
    in_words,
    is_going,
    is_suspended,
    last_failure,
    outlived,
    outlived_by,
    took_too_long,
)
from ..cluster.keys import in_keys
from ..cluster.lost_pods import LostPods
from ..run.run_record import Progress, progress_text
from . import engine
from .connection import Store
from .provider import Provider, changed, inputs_of
from .publication import Publication
from .waiting import LOOK_SECONDS, Waiting

if TYPE_CHECKING:
    # 0.4 s, which the dynamic providers have no need of.
    from pulumi_kubernetes.batch.v1 import Job

_AWAY_SECONDS = 300
"""How long the cluster may be unreachable: an API server is updated, a laptop changes networks."""


_FIRST_LOOK_SECONDS = 0.3
_LOOK_SHARE = 0.02
"""How often to look for the version: after this share of the time that the run has taken. So the
delay is always small beside it, and a run of days costs the store next to nothing."""

_PROGRESS_SECONDS = 10.0
_PROGRESS_SHARE = 0.05
"""How often to tell how far a run is: a line every 10 s at first, of a run of days every hour."""


def wait(
    cluster: Cluster,
    namespace: str,
    name: str,
    run: str,
    is_published: Callable[[], bool],
    progress: Callable[[], Progress | None],
    start_seconds: int | None = None,
) -> None:
    """Return when the Job has succeeded, or before that, when its model is published.

    What it waits for is shown in the terminal of `pulumi up`.

    Args:
        cluster: where it is.
        namespace: of the Job.
        name: of the Job.
        run: what it is called in messages: `run 5a1dcbe51b2c, attempt 1`.
        is_published: says whether its model is.
        progress: says how far it is, if that is known.
        start_seconds: how long its pods may wait for a node or the like; None: as long as the Job
            may take. Then the Job is ended: it must not begin when nobody waits for it any more.

    Raises:
        pulumi.RunError: it failed, was cancelled or deleted, or can't begin until somebody changes
            something. The text has the boot file's last words.
    """
    ended: Future[None] = Future()
    published = threading.Event()

    def follow() -> None:
        try:
            _await_end(cluster, namespace, name, run, published, start_seconds)
            ended.set_result(None)
        except BaseException as error:
            ended.set_exception(error)

    began = time.monotonic()
    threading.Thread(target=engine.in_this_call(follow), name="job", daemon=True).start()
    told = _Told(run, progress)
    while not ended.done():
        seconds = max(_FIRST_LOOK_SECONDS, _LOOK_SHARE * (time.monotonic() - began))
        if futures.wait([ended], seconds).not_done:
            if is_published():
                published.set()
                return
            told.look()
    ended.result()


class _Told:
    """What the terminal was told of a run's progress."""

    def __init__(self, run: str, progress: Callable[[], Progress | None]) -> None:
        self._run, self._progress = run, progress
        self._began = self._looked = time.monotonic()
        self._at: datetime | None = None

    def look(self) -> None:
        """Tell how far the run is, if it has got on, and nothing was told for a while."""
        now = time.monotonic()
        if now - self._looked < max(_PROGRESS_SECONDS, _PROGRESS_SHARE * (now - self._began)):
            return
        self._looked = now
        progress = self._progress()
        # What an earlier attempt said is no progress of this one.
        if progress is not None and self._at not in (None, progress.at):
            engine.tell(f"The training {self._run}: {progress_text(progress, datetime.now(UTC))}")
        if progress is not None:
            self._at = progress.at


def _await_end(
    cluster: Cluster,
    namespace: str,
    name: str,
    run: str,
    published: threading.Event,
    start_seconds: int | None,
) -> None:
    """Return when the Job has succeeded, or within seconds when nobody needs to know any more."""
    collection = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    path = f"{collection}?fieldSelector=metadata.name={name}"
    waiting = Waiting(f"The training {run},", _AWAY_SECONDS)
    lost = LostPods(cluster, namespace)
    announced = False
    while not published.is_set():
        job = None
        try:
            for job in api.watch(cluster, path, LOOK_SECONDS):
                if _is_over(job, cluster, run):
                    return
                if not announced:
                    engine.tell(f"Waiting for the training {run}. Its log: python -m infra logs -f")
                    announced = True
            # A server that is short of time ends a watch before it has told anything.
            job = job or api.get(cluster, f"{collection}/{name}")
            if job is None or is_going(job):
                raise pulumi.RunError(
                    f"The Job '{name}' of the {run}, is not in the namespace '{namespace}': "
                    "somebody has deleted it. Run 'pulumi up --refresh', which goes on from its "
                    "last checkpoint."
                )
            trouble = None
            # Asked only while a pod is missing: a training may take days.
            if not _has_its_pods(job):
                pods = ending.pods(cluster, namespace, ending.of_job(name))
                for sentence in lost.give_up(pods):
                    engine.tell(f"The training {run}: {sentence}")
                if _has_trained(pods, run):
                    return
                trouble = why.job(cluster, job)
        except api.NoAnswer as error:
            waiting.outlives(error)
            continue
        finally:
            if engine.is_interrupted():
                raise pulumi.RunError(
                    f"The training {run}, was not waited for to its end. It goes on: 'pulumi up' "
                    "waits for it again, 'python -m infra cancel' ends it."
                )
        goes_on = waiting.sees(trouble)
        if trouble is not None:
            _keep_reason(cluster, job, str(trouble))
        if not goes_on:
            raise pulumi.RunError(f"The training {run}, can't begin: {waiting.trouble}")
        if start_seconds is not None and waiting.troubled_seconds > start_seconds:
            ending.suspend(cluster, namespace, name)
            raise pulumi.RunError(
                f"The training {run}, did not begin within dlstack:startTimeout ({start_seconds} "
                f"s), and was ended: {waiting.trouble} The next 'pulumi up' tries again."
            )


def _is_over(job: Mapping[str, Any], cluster: Cluster, run: str) -> bool:
    """Say whether a Job has succeeded; raise if it has ended in another way."""
    end = end_of(job)
    if end is None and is_suspended(job):
        raise pulumi.RunError(
            f"The training {run}, was cancelled. The version that is served stays. 'pulumi up' "
            "goes on from its last checkpoint."
        )
    if end is None:
        return False
    if end["type"] == "Complete":
        return True
    raise pulumi.RunError(
        f"The training {run}, failed: {_why(job, end, cluster)}\n"
        "The version that is served stays. 'python -m infra logs' shows the whole log; "
        "'pulumi up' tries again, from the last checkpoint."
    )


def _has_trained(pods: Sequence[Mapping[str, Any]], run: str) -> bool:
    """Say whether a Job has trained that a container of the cluster's keeps from ending.

    Raises:
        pulumi.RunError: it has failed, and the Job will not say so.
    """
    if not (reason := outlived(pods)):
        return False
    if failure := last_failure(pods):
        log = in_keys(str(failure.get("message", ""))).strip()
        raise pulumi.RunError(
            "\n".join([f"The training {run}, failed: {in_words(failure)}", log, f"{reason}."])
        )
    if not all(map(outlived_by, pods)):
        return False
    engine.tell(f"{reason}.", stays=True)
    return True


def _why(job: Mapping[str, Any], end: Mapping[str, Any], cluster: Cluster) -> str:
    """Return why a Job has failed: what the process said that failed, or else the cluster."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    said = last_failure(ending.pods(cluster, namespace, ending.of_job(name)))
    if said is None or took_too_long(end):
        reason = end_in_words(end, why.job(cluster, job) if took_too_long(end) else None)
        _keep_reason(cluster, job, reason)
        return reason
    log = in_keys(str(said.get("message", ""))).strip()
    return "\n".join(part for part in (in_words(said), log) if part)


def _has_its_pods(job: Mapping[str, Any]) -> bool:
    status = job.get("status", {})
    there = sum(int(status.get(count) or 0) for count in ("ready", "succeeded"))
    return there >= int(job["spec"].get("parallelism") or 1)


def _keep_reason(cluster: Cluster, job: Mapping[str, Any], reason: str) -> None:
    """Note a reason down for `status`: events and pods are gone some day."""
    annotations = job["metadata"].get("annotations") or {}
    if annotations.get(names.REASON_ANNOTATION) != reason:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        api.patch(
            cluster,
            f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}",
            {"metadata": {"annotations": {names.REASON_ANNOTATION: reason}}},
        )


class _RunEndProvider(Provider):
    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed(olds, news, "namespace", "job", "uid")), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['namespace']}/{props['job']}", _waited(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_waited(news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """The Job goes by itself."""


def _waited(props: dict[str, Any]) -> dict[str, Any]:
    publication = Publication(props)
    wait(
        props["cluster"],
        props["namespace"],
        props["job"],
        props["run"],
        publication.is_there,
        publication.progress,
        # The engine's numbers are floats.
        int(props["start_seconds"]) if props.get("start_seconds") else None,
    )
    return inputs_of(props)


class RunEnd(Resource, module="training", name="RunEnd"):
    """The good end of a training run: its model is published."""

    def __init__(
        self,
        name: str,
        *,
        job: "Job",
        run: str,
        run_hash: str,
        store: Store,
        bucket: pulumi.Input[str],
        model_name: str,
        cluster: Cluster,
        start_seconds: int | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare what to wait for.

        Args:
            name: logical name.
            job: the run's Job.
            run: what messages call it: `run 5a1dcbe51b2c, attempt 1`.
            run_hash: of the run, 64 digits.
            store: where it publishes.
            bucket: in which.
            model_name: under which name.
            cluster: where the Job is.
            start_seconds: how long its pods may wait for a node; None: as long as the Job may take.
            opts: resource options.
        """
        props = {
            "cluster": cluster,
            "namespace": job.metadata.apply(lambda metadata: metadata.namespace),
            "job": job.metadata.apply(lambda metadata: metadata.name),
            "uid": job.metadata.apply(lambda metadata: metadata.uid),
            "run": run,
            "run_hash": run_hash,
            "store": store,
            "bucket": bucket,
            "model_name": model_name,
            **({"start_seconds": start_seconds} if start_seconds is not None else {}),
        }
        super().__init__(_RunEndProvider(), name, props, opts)

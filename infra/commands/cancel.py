"""Ends the training that runs, so that the next `pulumi up` can go on from its last checkpoint."""

from collections.abc import Callable

from ..cluster import ending
from ..cluster.jobs import is_active, is_of_a_run
from ..run.run_hash import short
from . import job_state
from .deployed import Deployed


def cancel(stack: Deployed, say: Callable[[str], None]) -> bool:
    """End all runs that train, and wait until their pods are gone; say whether there was one.

    Raises:
        pulumi.RunError: a pod does not end.
    """
    jobs = stack.items("apis/batch/v1/jobs")
    active = [job for job in jobs if is_of_a_run(job) and is_active(job)]
    for job in active:
        ending.suspend(stack.cluster, stack.namespace, job["metadata"]["name"])
        say(f"Ending the run {short(job_state.run_hash(job))}; it saves its log and checkpoints.")
    for job in active:
        label = ending.of_job(job["metadata"]["name"])
        ending.await_pods(stack.cluster, stack.namespace, label, say)
        say(
            f"The run {short(job_state.run_hash(job))} is cancelled. The version that is served "
            "stays. 'pulumi up' goes on from the last checkpoint."
        )
    return bool(active)

"""Which tests run together in a process, in which order, and which processes get those on the
cluster.

Tests on a cluster wait most of the time, and others run meanwhile. So with `-n 3` two processes
begin with those on clusters, and the third with the rest. The two help it when they are done.
"""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

CLUSTER = "tests/cluster/"
SECOND = (f"{CLUSTER}on_three_nodes/", f"{CLUSTER}without_stack/")
"""On a second cluster, which has one process to itself."""
APART = f"{CLUSTER}on_own_machine/"
"""On a cluster of their own, with few pods: beside whatever else runs."""
ORDER = (
    *SECOND,
    f"{CLUSTER}with_one_stack/",
    f"{CLUSTER}on_bad_days/",
    f"{CLUSTER}with_own_stacks/",
    CLUSTER,
    APART,
    "tests/serving/",
    "tests/training/",
    "tests/client/",
    "tests/infra/",
)
"""What takes long begins early."""
TOGETHER = {
    SECOND[0]: SECOND[0],
    SECOND[1]: SECOND[0],
    f"{CLUSTER}with_one_stack/": f"{CLUSTER}with_one_stack/",
}
"""Folders of tests on a cluster whose modules share what is expensive to make -> their scope."""
DEEP = ("tests/serving/", "tests/training/")
"""Of these each folder within is handed out by itself."""
CHAINS = 2
"""How many processes run tests on the cluster: the pods of a third would find no room."""


def place(test: str) -> int:
    """Return where a test stands in the order, by its id."""
    found = [n for n, folder in enumerate(ORDER) if test.startswith(folder)]
    # Of two that fit, the folder in the other one.
    return max(found, key=lambda n: len(ORDER[n]), default=len(ORDER))


def scope(test: str) -> str:
    """Return the folder or the file of a test with all of which it runs in one process."""
    file = test.partition("::")[0]
    if file.startswith(CLUSTER):
        return next((name for of, name in TOGETHER.items() if file.startswith(of)), file)
    depth = 3 if file.startswith(DEEP) else 2
    return "/".join(file.split("/")[:depth])


def choose(waiting: list[str], chained: bool) -> str | None:
    """Return what a process runs next; None: nothing that is left is for it.

    Args:
        waiting: scopes in their order.
        chained: whether the process is one of those that run the tests on the cluster.
    """
    # The third would find no room for its pods.
    mine = [one for one in waiting if chained or not on_cluster(one)]
    if not chained:
        mine.sort(key=lambda one: one.startswith(APART))
    return next(iter(mine), None)


def on_cluster(scope: str) -> bool:
    """Whether tests have stacks on a cluster."""
    return scope.startswith(CLUSTER) and not scope.startswith(APART)


class Schedule(LoadScopeScheduling):  # type: ignore[misc]
    """With `-n`: hands out whole folders and files, so that what their tests share is made once."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        chains = min(CHAINS, max(1, self.numnodes - 1))
        chained = node in list(self.registered_collections)[:chains]
        chosen = choose(list(self.workqueue), chained)
        if chosen is None:
            node.shutdown()
        else:
            self.workqueue.move_to_end(chosen, last=False)
            super()._assign_work_unit(node)

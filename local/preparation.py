"""What `up` is going to need, made in the background while it goes on with what is here.

Downloads wait for the network and compilers for the processor, so they run side by side. Whoever
needs a part asks for it as ever, and waits until that part is here.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from .build.images import Images
from .build.programs import Program, programs_of
from .console import LocalError
from .home import Home
from .machine import processes
from .stack.stack import data_folder, data_set


@contextlib.contextmanager
def begun(home: Home, programs: Sequence[Program], images: Images | None) -> Iterator[None]:
    """Begin to make what is missing. When the body fails, what runs is ended with it.

    Args:
        programs: that are needed, in the order in which they are to be built.
        images: whose Python packages are to be downloaded; None when no image is built here.
    """
    jobs = _jobs(home, programs, images)
    threads = [threading.Thread(target=_quietly, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    except BaseException:
        processes.end_logged()
        raise
    for thread in threads:
        thread.join()


def _jobs(
    home: Home, programs: Sequence[Program], images: Images | None
) -> list[Callable[[], object]]:
    known = programs_of(home)
    jobs: list[Callable[[], object]] = []
    missing = [program for program in programs if not known.is_there(program)]
    if missing:
        jobs += [lambda: known.make(*missing), lambda: known.download_modules(*missing)]
    if images is not None and not images.is_runtime_built():
        jobs.append(images.download_wheels)
    if not data_folder(home).exists():
        jobs.append(lambda: data_set(home))
    return jobs


def _quietly(job: Callable[[], object]) -> None:
    """Run a job. Whoever needs what it was to make tries once more, and tells what is wrong."""
    with contextlib.suppress(LocalError):
        job()

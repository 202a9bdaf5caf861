"""Opens TensorBoard, which is open to the cluster's pods only, on a port of this machine."""

import threading
from collections.abc import Callable

import pulumi

from ..cluster import names
from ..cluster.api import NoAnswer
from ..cluster.port_forward import PortForward
from .deployed import Deployed

PORT = 6006
"""TensorBoard's own."""


def show(stack: Deployed, port: int, say: Callable[[str], None]) -> None:
    """Print the URL, and pass connections on until Ctrl-C.

    Raises:
        pulumi.RunError: it does not run, or the port is taken.
    """
    place = (stack.cluster, stack.namespace, names.TENSORBOARD, names.TENSORBOARD_PORT)
    try:
        forward = PortForward(*place, at=port)
    except OSError as error:
        raise pulumi.RunError(
            f"The port {port} of this machine can't be had: {error}. Choose another one with "
            "--port; --port 0 takes any that is free."
        ) from error
    try:
        forward.require()
        print(f"http://127.0.0.1:{forward.port}", flush=True)
        say("TensorBoard is open at this address until Ctrl-C.")
        threading.Event().wait()
    except NoAnswer as error:
        raise pulumi.RunError(
            f"TensorBoard can't be reached: {str(error).rstrip('.')}. 'python -m infra status' "
            "says how it is."
        ) from error
    finally:
        forward.close()

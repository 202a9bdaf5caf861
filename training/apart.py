"""Parts of a model's graph that only some requests need: prepared when the first one needs them.

TensorFlow copies what a signature's functions do into one graph, branches and loops included, and
works through all of it several times before the signature's first answer: about a millisecond for
each operation, also for those of a branch that hardly any request takes.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from training.quiet_tensorflow import tf

_UNOPTIMIZED = "disable_meta_optimizer"


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors that graphs call, rather than hold the operations of.

    It is for parts with hundreds of operations and some milliseconds of work: a call takes 50 us.
    """
    attributes = {
        # Called, not copied into the graph that calls it.
        "_noinline": True,
        # Left alone by the optimizer of the graph that calls it, as functions of tf.data are.
        # Were the name to change, first requests would be slower and nothing else.
        "_tf_data_function": True,
    }
    part = tf.function(function, autograph=False, experimental_attributes=attributes)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        # The call's own settings: nor is the part optimized when it is first called. Where files
        # are decoded there is nothing to gain.
        options = tf.config.optimizer
        known = options.get_experimental_options().get(_UNOPTIMIZED, False)
        options.set_experimental_options({_UNOPTIMIZED: True})
        try:
            return part(*arguments)
        finally:
            options.set_experimental_options({_UNOPTIMIZED: known})

    return call

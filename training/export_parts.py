"""What has to be in a SavedModel for its signatures to answer: found by what their graphs use.

Saved as it is, a Keras 3 model restores copies of its variables that no signature reads:
`tf.saved_model.load` still works, but every graph session, TensorFlow Serving's first of all,
answers "Could not find variable". `keras.export.ExportArchive` unwraps them in the same way. Tables
of layers such as `StringLookup`, and variables and modules that a layer holds beside its weights,
are not among the variables of a Keras model.
"""

import gc
from collections.abc import Iterable, Iterator
from typing import Any

from training.quiet_tensorflow import tf

_KEPT = (tf.saved_model.experimental.TrackableResource, tf.Variable)


def root_of(module: Any, functions: Iterable[Any]) -> "tf.Module":
    """Return a module that tracks all that TensorFlow keeps for the functions.

    Args:
        module: see `training.export.export_model`.
        functions: concrete ones.
    """
    parts = list(module) if isinstance(module, list | tuple) else [module]
    modules = [part for part in parts if isinstance(part, tf.Module) and not any(_layers(part))]
    used = {
        id(tensor)
        for function in functions
        for tensor in function.captured_inputs
        if tensor.dtype == tf.resource
    }
    found = {_key(one): one for part in parts for one in _kept(part)}
    if missing := used - found.keys():
        # In no attribute of what was given, such as a layer beside the model: whoever made it.
        everything = (one for one in gc.get_objects() if issubclass(type(one), _KEPT))
        found |= {_key(one): one for one in everything if _key(one) in missing}
    if modules == parts and len(parts) == 1 and not missing:
        return modules[0]
    root = tf.Module()
    root.modules, root.kept = modules, list(found.values())
    return root


def _kept(part: Any) -> Iterator[Any]:
    """Yield variables and tables of a part, those of Keras layers in it as TensorFlow has them."""
    for layer in _layers(part):
        yield from (variable.value for variable in layer.variables)
    if isinstance(part, tf.__internal__.tracking.Trackable):
        for one in tf.train.TrackableView(part).descendants():
            if isinstance(one, _KEPT):
                yield one


def _layers(part: Any) -> Iterator[Any]:
    """Yield the Keras layers that are a part or lie in it; of one in another only the latter."""
    if isinstance(part, tf.keras.layers.Layer):
        yield part
    elif isinstance(part, tf.Module):
        for one in tf.train.TrackableView(part).descendants():
            if isinstance(one, tf.keras.layers.Layer):
                yield one


def _key(one: Any) -> int:
    """Return the identity of the tensor by which graphs know a variable or a table."""
    try:
        handle = one.handle if isinstance(one, tf.Variable) else one._resource_handle
    except (AttributeError, ValueError):
        # Mirrored over several devices.
        handle = None
    return id(one if handle is None else handle)

"""Requests of the code's own for its model: it is tried with them, and servers warm up by them.

The file is TensorFlow Serving's: TFRecords of `tensorflow_serving/apis/prediction_log.proto`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.about import concrete_function
from training.command_line import TrainingError
from training.quiet_tensorflow import tf

FILE = Path("assets.extra", "tf_serving_warmup_requests")
_MOST = 1000
"""Servers take no more."""

Request = Mapping[str, Any]
"""Input to its values, with all rows: whatever `tf.constant` takes."""
Samples = Mapping[str, Request | Sequence[Request]]
"""Signature to a request, or to several."""


def records(samples: Samples, signatures: Mapping[str, Any]) -> list[bytes]:
    """Return samples as serialised PredictionLogs.

    Raises:
        TrainingError: they are too many, or one does not fit its signature.
    """
    found = []
    for name, given in samples.items():
        if name not in signatures:
            raise TrainingError(
                f"samples has {name!r}, which is no signature of the model. Use one of: "
                f"{', '.join(sorted(signatures))}."
            )
        specs = {
            spec.name: spec
            for spec in tf.nest.flatten(
                concrete_function(signatures[name]).structured_input_signature
            )
        }
        for number, request in enumerate([given] if isinstance(given, Mapping) else given):
            place = f"samples[{name!r}]" + ("" if isinstance(given, Mapping) else f"[{number}]")
            found.append(_record(name, _tensors(place, request, specs)))
    if len(found) > _MOST:
        raise TrainingError(
            f"samples has {len(found)} requests. Give at most {_MOST}: servers take no more."
        )
    return found


def write(folder: Path, content: Sequence[bytes]) -> None:
    """Write the records of a SavedModel."""
    file = folder / FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in content:
            writer.write(record)


def _tensors(place: str, request: Request, specs: Mapping[str, Any]) -> "dict[str, tf.Tensor]":
    if not isinstance(request, Mapping) or request.keys() != specs.keys():
        shown = ", ".join(f"{name!r}: …" for name in sorted(specs))
        raise TrainingError(
            f"{place} has {_named(request)}. Give the inputs of the signature: {{{shown}}}."
        )
    tensors = {}
    for name, spec in specs.items():
        try:
            tensors[name] = tf.convert_to_tensor(request[name], spec.dtype)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"{place}[{name!r}] can't be {spec.dtype.name}: {error}") from error
        if not spec.shape.is_compatible_with(tensors[name].shape):
            raise TrainingError(
                f"{place}[{name!r}] has the shape {tensors[name].shape.as_list()}, but the "
                f"signature takes {spec.shape}. Give all rows, as a request has them."
            )
    return tensors


def _named(request: Any) -> str:
    if isinstance(request, Mapping):
        return f"the inputs {', '.join(map(repr, request)) or 'none'}"
    return f"a {type(request).__name__}"


def _record(signature: str, inputs: "Mapping[str, tf.Tensor]") -> bytes:
    """Return a PredictionLog. Its messages are not in TensorFlow, and few: written by hand."""
    spec = _field(3, signature.encode())
    tensors = b"".join(
        _field(
            2,
            _field(1, name.encode()) + _field(2, tf.make_tensor_proto(value).SerializeToString()),
        )
        for name, value in sorted(inputs.items())
    )
    # PredictionLog.predict_log.request, with its model_spec and inputs.
    return _field(6, _field(1, _field(1, spec) + tensors))


def _field(number: int, content: bytes) -> bytes:
    """Return a field of bytes or of a message, as protobuf writes it."""
    size, length = bytearray(), len(content)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + content

"""The REST methods predict, classify and regress: how each reads its JSON body and answers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from tensorflow_serving.apis import classification_pb2, regression_pb2

from ...budget import LARGE_BYTES
from ...errors import InvalidArgument
from ...models.signature import DEFAULT_SIGNATURE
from ...models.version import Version
from ...predict import examples, predict
from ...predict.call import Call
from ...wire import json_document, json_examples, json_inputs, json_outputs, json_together
from ...wire.json_document import signature_name
from ...wire.json_numbers import Quick
from ...wire.json_parser import Json, Reserve

R = TypeVar("R", classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest)


@dataclass(frozen=True)
class Method:
    """One of them."""

    parse: Callable[[bytes, Reserve], Any]
    """Body to a request. Its errors come before those of an unknown model."""
    read: Callable[[Version, Any], Call[bytes]]
    """Read such a request into a call, whose answer is the body to send."""
    short_bytes: int
    """Bodies up to this size are read on the event loop: about 1 ms for the largest."""
    alike: Callable[[Sequence[bytes]], list[list[int]]] | None = None
    """Bodies to those that can perhaps be read together, by their positions; None: none can."""
    parse_alike: Callable[[Sequence[bytes]], Any] | None = None
    """Such bodies to one request; None: they have to be read one by one."""
    has_forms: bool = False
    """Whether bodies that differ in the numbers of their rows only are read to like calls."""


def _read_predict(version: Version, document: dict[str, Json]) -> Call[bytes]:
    key = signature_name(document)
    signature = version.signature(key)
    if signature is None:
        raise InvalidArgument(
            f'Serving signature name: "{key or DEFAULT_SIGNATURE}" not found in signature def'
        )
    predict.check_method(version, signature)
    fetch = list(signature.outputs)
    signature.check(fetch)
    inputs, by_row = json_inputs.read_inputs(document, signature)
    return Call(
        api=predict.API,
        signature=signature,
        inputs=inputs,
        fetch=fetch,
        answers=partial(json_outputs.dump_each, by_row=by_row),
        form=("REST", by_row),
        count=document.count if isinstance(document, Quick) else 1,
    )


def _parse_examples(kind: type[R], content: bytes, reserve: Reserve) -> R:
    request = kind()
    document = json_document.parse_plain(content, reserve)
    name = signature_name(document)
    try:
        request.model_spec.signature_name = name
    except UnicodeEncodeError:
        raise InvalidArgument(
            f'Serving signature name: "{name}" not found in signature def'
        ) from None
    request.input.CopyFrom(json_examples.read_input(document))
    return request


def _read_classify(
    version: Version, request: classification_pb2.ClassificationRequest
) -> Call[bytes]:
    call = examples.read_classification(version, request)
    return call.having(
        answers=lambda outputs, _: [
            json_examples.dump_classifications(call.answer(outputs).result)
        ],
    )


def _read_regress(version: Version, request: regression_pb2.RegressionRequest) -> Call[bytes]:
    call = examples.read_regression(version, request)
    dump = json_examples.dump_regressions
    return call.having(answers=lambda outputs, _: [dump(call.answer(outputs).result)])


METHODS = {
    "predict": Method(
        json_document.parse,
        _read_predict,
        LARGE_BYTES,
        json_together.alike,
        json_together.read,
        has_forms=True,
    ),
    # Python handles each value of an Example by itself.
    "classify": Method(
        partial(_parse_examples, classification_pb2.ClassificationRequest), _read_classify, 2**12
    ),
    "regress": Method(
        partial(_parse_examples, regression_pb2.RegressionRequest), _read_regress, 2**12
    ),
}
"""By the name in the path, in lower case."""

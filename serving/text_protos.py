"""Text-format protocol buffers: the configuration files that flags name.

`read` serves every one of them. Messages for which the package tensorflow-serving-api has no Python
module are described by `message_type`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from google.protobuf.message import Message  # type: ignore[import-untyped]

from .errors import InvalidArgument, NotFound

M = TypeVar("M", bound=Message)

_PACKAGE = "tensorflow.serving"
_FIELD = descriptor_pb2.FieldDescriptorProto


def read(path: str, message: M) -> M:
    """Fill `message` from the text-format file at `path` and return it.

    What is wrong with the file goes to stderr in protobuf's own words, as TensorFlow Serving's
    C++ protobuf puts it there.

    Raises:
        ServingError: there is no such file, or it is not a text-format message of this type.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        raise NotFound(f"{path}; No such file or directory") from None
    except OSError as error:
        raise InvalidArgument(f"{path}; {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"Invalid protobuf file: '{path}'") from None
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        print(
            f"Error parsing text-format {message.DESCRIPTOR.full_name}: {error}",
            file=sys.stderr,
            flush=True,
        )
        raise InvalidArgument(f"Invalid protobuf file: '{path}'") from None
    return message


def message_type(name: str, fields: Mapping[str, tuple[int, Any]]) -> Any:
    """Return the class of a message in the package `tensorflow.serving`.

    Args:
        name: of the message; each may be described once in a process.
        fields: name to field number and type: `bool`, `str`, `bytes`, `int` (int64), a message
            class, or one of these in a list, `[int]`, for a repeated field.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"dlstack/{name}.proto", package=_PACKAGE, syntax="proto3"
    )
    message = file.message_type.add(name=name)
    scalars = {
        bool: _FIELD.TYPE_BOOL,
        str: _FIELD.TYPE_STRING,
        bytes: _FIELD.TYPE_BYTES,
        int: _FIELD.TYPE_INT64,
    }
    for field_name, (number, kind) in fields.items():
        repeated = isinstance(kind, list)
        kind = kind[0] if repeated else kind
        field = message.field.add(
            name=field_name,
            number=number,
            label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
        )
        if kind in scalars:
            field.type = scalars[kind]
        else:
            field.type = _FIELD.TYPE_MESSAGE
            field.type_name = f".{kind.DESCRIPTOR.full_name}"
            if kind.DESCRIPTOR.file.name not in file.dependency:
                file.dependency.append(kind.DESCRIPTOR.file.name)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


INT64 = wrappers_pb2.Int64Value
"""`google.protobuf.Int64Value`, for fields such as `max_batch_size { value: 32 }`."""

"""Write `client/_transports/messages.binpb` anew from the installed `tensorflow-serving-api`.

    python tests/client/transports/make_messages.py

Only needed when that package's version changes; `test_messages.py` says so when it is.
"""

from __future__ import annotations

from pathlib import Path

TARGET = Path(__file__).parents[3] / "client" / "_transports" / "messages.binpb"


def official_descriptors() -> bytes:
    """Return the three files of messages the client speaks and all they import, as a set."""
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        predict_pb2,
    )

    ordered: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        # A file comes after those it imports: a descriptor pool takes them in this order only.
        for dependency in file.dependencies:
            add(dependency)
        ordered.setdefault(file.name, file)

    for module in (predict_pb2, get_model_metadata_pb2, get_model_status_pb2):
        add(module.DESCRIPTOR)
    result = FileDescriptorSet()
    for file in ordered.values():
        file.CopyToProto(result.file.add())
    return result.SerializeToString(deterministic=True)


if __name__ == "__main__":
    TARGET.write_bytes(official_descriptors())

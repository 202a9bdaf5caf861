"""TF Serving's official protobuf messages, without TensorFlow.

The modules of `tensorflow-serving-api` import TensorFlow, which is 2.5 GB and 3 s. Their message
descriptions are 26 KB: `messages.binpb` holds them, a serialized FileDescriptorSet taken from
`tensorflow-serving-api` 2.21.0 by `tests/client/transports/make_messages.py`.

They go into a pool of their own. In protobuf's default pool, TensorFlow's C++ library registers
files of the same names, and whichever comes second would fail or be ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet  # type: ignore[import-untyped]
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]


def _load() -> Any:
    pool = DescriptorPool()
    path = Path(__file__).with_name("messages.binpb")
    for file in FileDescriptorSet.FromString(path.read_bytes()).file:
        pool.Add(file)
    return pool


_POOL = _load()


def _message(name: str) -> Any:
    # Any: protobuf makes these classes at run time, so there is no static type to give.
    return GetMessageClass(_POOL.FindMessageTypeByName(name))


PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictResponse = _message("tensorflow.serving.PredictResponse")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
SignatureDefMap = _message("tensorflow.serving.SignatureDefMap")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")

#: `DT_FLOAT` to 1 and so on, and back.
DATA_TYPE_NUMBERS: dict[str, int] = {
    value.name: value.number for value in _POOL.FindEnumTypeByName("tensorflow.DataType").values
}
DATA_TYPE_NAMES = {number: name for name, number in DATA_TYPE_NUMBERS.items()}
#: 30 to `AVAILABLE` and so on.
STATE_NAMES: dict[int, str] = {
    value.number: value.name
    for value in _POOL.FindEnumTypeByName("tensorflow.serving.ModelVersionStatus.State").values
}
#: 5 to `NOT_FOUND` and so on; the numbers are gRPC's.
ERROR_CODE_NAMES: dict[int, str] = {
    value.number: value.name for value in _POOL.FindEnumTypeByName("tensorflow.error.Code").values
}
#: 3 to `RAGGED_TENSOR_SPEC` and so on.
TYPE_SPEC_NAMES: dict[int, str] = {
    value.number: value.name
    for value in _POOL.FindEnumTypeByName("tensorflow.TypeSpecProto.TypeSpecClass").values
}

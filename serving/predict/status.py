"""What a model says of itself: the states of its versions, the signatures of one.

Follows TensorFlow Serving's `model_servers/get_model_status_impl.cc`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from ..models.version import Version


def model_status(versions: Sequence[Version]) -> get_model_status_pb2.GetModelStatusResponse:
    """Return the states of these versions."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version in versions:
        status = response.model_version_status.add(version=version.number, state=version.state)
        error = version.error
        status.status.error_code = error.code if error else 0
        status.status.error_message = error.message if error else ""
    return response


def signature_defs(version: Version) -> get_model_metadata_pb2.SignatureDefMap:
    """Return the signatures of a version."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, signature in version.signatures.items():
        signatures.signature_def[key].CopyFrom(signature.definition)
    return signatures


def model_metadata(version: Version) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Return name, number and signatures of a version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = version.model_name
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(signature_defs(version))
    return response

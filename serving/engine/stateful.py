"""Operations by which one run of a graph may change what a later one gives."""

from __future__ import annotations

import ctypes

from tensorflow.core.framework import op_def_pb2

from . import c_api

_ONLY_READ = frozenset(
    {
        *(
            "VarHandleOp",
            "ReadVariableOp",
            "_ReadVariablesOp",
            "VariableShape",
            "VarIsInitializedOp",
        ),
        *("Variable", "VariableV2", "ResourceGather", "ResourceGatherNd", "DisableCopyOnRead"),
        *("HashTable", "HashTableV2", "LookupTableFind", "LookupTableFindV2"),
        *(
            "LookupTableSize",
            "LookupTableSizeV2",
            "StatefulPartitionedCall",
            "If",
            "Case",
            "While",  # What is in it is looked at, as in the ones before.
            "Assert",
        ),
        *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
    }
)
"""Operations that TensorFlow calls stateful and that change nothing."""


def changing() -> frozenset[str]:
    """Return the operations, loaded libraries' among them, that may change what a later run gives.

    Takes 30 ms.
    """
    lib = c_api.library()
    buffer = lib.TF_GetAllOpList()
    content = ctypes.string_at(buffer.contents.data, buffer.contents.length)
    lib.TF_DeleteBuffer(buffer)
    known = op_def_pb2.OpList.FromString(content).op
    return frozenset(one.name for one in known if one.is_stateful) - _ONLY_READ

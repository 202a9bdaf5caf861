"""A SavedModel that is tried: loaded by the server's engine, each signature run once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from ..engine.operations import MissingOperation
from ..engine.saved_model import SavedModel
from ..errors import Code, ServingError
from ..models.signature import Signature
from . import cures, rows

_INTERNAL = "__saved_model_"
"""What TensorFlow itself keeps among the signatures begins so."""


class Refused(Exception):
    """The model must not be served. The text says why, and what to do."""


class Model:
    """A SavedModel in memory, until the process ends.

    Args:
        folder: holds `saved_model.pb`.
        deadline: by `time.monotonic`. What runs then is ended.

    Raises:
        Refused: it can't be loaded, or has no signature.
        MissingOperation: this TensorFlow lacks one of its operations.
    """

    def __init__(self, folder: Path, deadline: float) -> None:
        self.deadline = deadline
        self._folder = folder
        try:
            self.saved_model = SavedModel(folder)
        except MissingOperation:
            raise
        except ServingError as error:
            raise Refused(f"The model can't be loaded. {cures.explained(error, folder)}") from None
        graph = meta_graph_pb2.MetaGraphDef.FromString(self.saved_model.take_meta_graph())
        self.signatures = {
            key: Signature(key, meta_graph_pb2.SignatureDef.FromString(one.SerializeToString()))
            for key, one in sorted(graph.signature_def.items())
            if not key.startswith(_INTERNAL) and one.outputs
        }
        if not self.signatures:
            raise Refused(
                "The model has no signature, so nobody can ask it anything. Give `signatures=` to "
                "`tf.saved_model.save`, or export with `model.export(FOLDER)` or "
                "`training.export.export_model(…)`."
            )

    def try_made_up_rows(self, signature: Signature) -> str:
        """Run a signature on rows made from its spec, until it answers one; say what came of it.

        Raises:
            Refused: it fails, whatever the row.
        """
        fetch, odd = [], ""
        try:
            signature.check([])
        except ServingError as error:
            return f"is not run: {error.message}"
        for alias in signature.outputs:
            try:
                signature.check([alias])
                fetch.append(alias)
            except ServingError as error:
                odd = f" But: {error.message}"
        if not fetch:
            return f"is not run.{odd}"
        refusal = "none can be made"
        for row in rows.rows(signature.inputs):
            try:
                self._run(signature, row, fetch)
                return f"answers a row made from its spec.{odd}"
            except ServingError as error:
                refusal = cures.shortened(error)
                if cures.is_for_the_row(error):
                    continue
                if rows.TEXT.decode() in error.message:
                    break
                raise self.refused(signature.key, error) from None
        return f"refuses rows made from its spec, which may be right: {refusal}.{odd}"

    def refused(
        self, key: str, error: ServingError, asked: str = "a row made from its spec"
    ) -> Refused:
        """Return why the model must not be served.

        Args:
            key: of the signature that failed.
            error: with which it did.
            asked: what it did not answer.
        """
        if error.code == Code.DEADLINE_EXCEEDED:
            return Refused(
                f"Signature '{key}' has not answered {asked} in the time that it has. Look for a "
                "loop in it that does not end, or let one request do less."
            )
        explained = cures.explained(error, self._folder)
        return Refused(f"Signature '{key}' does not answer {asked}. {explained}")

    def _run(
        self, signature: Signature, row: Mapping[str, np.ndarray], fetch: Sequence[str]
    ) -> None:
        parts = {alias: [array] for alias, array in row.items()}
        milliseconds = max(1, int((self.deadline - time.monotonic()) * 1000))
        signature.run(self.saved_model, parts, fetch, milliseconds)

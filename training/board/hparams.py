"""A run's parameters and metrics for TensorBoard's HParams, as an event file.

It is made with TensorBoard's own messages, without TensorFlow. It has what the run's record says,
so that also runs have it whose code knows nothing of TensorBoard.
"""

import math
import struct
from collections.abc import Iterator

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.plugins.hparams.api_pb2 import Status

from training.board.run_names import Known

EVENT_FILE = "events.out.tfevents.0.hparams"
_STATES = {
    "succeeded": Status.STATUS_SUCCESS,
    "failed": Status.STATUS_FAILURE,
    "interrupted": Status.STATUS_FAILURE,
}


def event_file(run: Known) -> bytes:
    """Return the content of an event file; that of a run which goes on is the beginning of that
    after its end."""
    return b"".join(_record(event.SerializeToString()) for event in _events(run))


def _events(run: Known) -> Iterator[Event]:
    began = run.started.timestamp()
    yield Event(wall_time=began, file_version="brain.Event:2")
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=began, group_name=run.run)
    start.hparams["model_name"].string_value = run.model
    for name, value in sorted(run.parameters.items()):
        # Numbers are sorted and drawn as such.
        number = _number(value)
        if number is None:
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = number
    yield _of_the_plugin(
        began,
        metadata.SESSION_START_INFO_TAG,
        plugin_data_pb2.HParamsPluginData(session_start_info=start),
    )
    if run.ended is None:
        return
    ended = run.ended.timestamp()
    values = [
        Summary.Value(tag=f"metrics/{name}", simple_value=value)
        for name, value in run.metrics.items()
    ]
    if values:
        yield Event(wall_time=ended, step=0, summary=Summary(value=values))
    status = _STATES.get(run.state, Status.STATUS_UNKNOWN)
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
    yield _of_the_plugin(
        ended,
        metadata.SESSION_END_INFO_TAG,
        plugin_data_pb2.HParamsPluginData(session_end_info=end),
    )


def _of_the_plugin(wall_time: float, tag: str, data: "plugin_data_pb2.HParamsPluginData") -> Event:
    value = Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )
    return Event(wall_time=wall_time, summary=Summary(value=[value]))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _record(content: bytes) -> bytes:
    """Return a record of TensorFlow's: its length and content, each with a checksum."""
    length = struct.pack("<Q", len(content))
    return b"".join(
        [
            length,
            struct.pack("<I", masked_crc32c(length)),
            content,
            struct.pack("<I", masked_crc32c(content)),
        ]
    )

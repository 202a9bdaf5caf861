"""Scalars, pictures and texts for TensorBoard, written as event files.

write_pictures(output, "digits that are read wrongly", pictures)
write_text(output, "about the data", "10,000 pictures, *of 2026*")
"""

import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from training.command_line import TrainingError
from training.quiet_tensorflow import tf

_CLASSES = {"images": 3, "text": 2}
"""Plugin -> TensorFlow's DataClass: sequences of blobs, and tensors."""

_numbers = itertools.count()
_MOST_PICTURES = 100
"""Of one tag and step: TensorBoard loads all that it shows."""


def write_pictures(
    folder: Path, tag: str, pictures: Any, step: int = 0, description: str = ""
) -> None:
    """Show pictures under IMAGES, in an event file of their own; see `ScalarWriter.pictures`."""
    with ScalarWriter(folder) as writer:
        writer.pictures(step, tag, pictures, description)


def write_text(folder: Path, tag: str, text: str, step: int = 0) -> None:
    """Show a text under TEXT, in an event file of its own; see `ScalarWriter.text`."""
    with ScalarWriter(folder) as writer:
        writer.text(step, tag, text)


class ScalarWriter:
    """Writes scalars, pictures and texts to one event file; a context manager.

    It writes the records itself: an eager `tf.summary.scalar` takes about 0.3 ms, which at
    thousands of steps a second would be a good part of the training.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Numbered, as two of the same second and process would be one file.
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        name = f"{name}.{next(_numbers)}"
        self._writer = tf.io.TFRecordWriter(str(folder / name))
        self._add(tf.compat.v1.Event(wall_time=time.time(), file_version="brain.Event:2"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add tag -> value at a step."""
        values = [
            tf.compat.v1.Summary.Value(tag=tag, simple_value=value)
            for tag, value in scalars.items()
        ]
        summary = tf.compat.v1.Summary(value=values)
        self._add(tf.compat.v1.Event(wall_time=time.time(), step=step, summary=summary))

    def pictures(self, step: int, tag: str, pictures: Any, description: str = "") -> None:
        """Add pictures at a step.

        Args:
            step: of the training.
            tag: their name.
            pictures: uint8 [n, height, width, channels], or floats 0..1; one without n, and grey
                ones without channels, are fine. Channels: 1, 3 or 4. The first 100 are taken.
            description: Markdown below the name.

        Raises:
            TrainingError: they have another shape.
        """
        found = _as_pictures(tag, pictures)[:_MOST_PICTURES]
        height, width = found.shape[1:3]
        encoded = [tf.io.encode_png(one).numpy() for one in found]
        self._add_tensor(step, tag, "images", [f"{width}", f"{height}", *encoded], description)

    def text(self, step: int, tag: str, text: str) -> None:
        """Add a text in Markdown at a step."""
        self._add_tensor(step, tag, "text", [text], "")

    def _add_tensor(
        self, step: int, tag: str, plugin: str, values: list[Any], description: str
    ) -> None:
        kinds = tf.compat.v1.SummaryMetadata
        metadata = kinds(summary_description=description, data_class=_CLASSES[plugin])
        metadata.plugin_data.plugin_name = plugin
        value = tf.compat.v1.Summary.Value(
            tag=tag, metadata=metadata, tensor=tf.make_tensor_proto(values, tf.string)
        )
        summary = tf.compat.v1.Summary(value=[value])
        self._add(tf.compat.v1.Event(wall_time=time.time(), step=step, summary=summary))

    def resume(self, done: int) -> None:
        """Tell readers that a run goes on after `done` steps: they hide later ones from before."""
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._add(tf.compat.v1.Event(wall_time=time.time(), step=done + 1, session_log=start))

    def flush(self) -> None:
        """Make what was written visible to readers of the file."""
        self._writer.flush()

    def close(self) -> None:
        """Make all visible; nothing can be written after it."""
        self._writer.close()

    def _add(self, event: "tf.compat.v1.Event") -> None:
        self._writer.write(event.SerializeToString())


def _as_pictures(tag: str, given: Any) -> "np.ndarray":
    """Return pictures as uint8 [n, height, width, channels]."""
    found = np.asarray(given)
    if found.ndim == 2 or (found.ndim == 3 and found.shape[-1] in (1, 3, 4)):
        found = found[np.newaxis]
    if found.ndim == 3:
        found = found[..., np.newaxis]
    if found.ndim != 4 or found.shape[-1] not in (1, 3, 4):
        raise TrainingError(
            f"The pictures '{tag}' have the shape {list(np.shape(given))}. Give them as "
            "[n, height, width, channels] with 1, 3 or 4 channels."
        )
    if found.dtype != np.uint8:
        found = (np.clip(np.nan_to_num(found), 0, 1) * 255).round().astype(np.uint8)
    return found

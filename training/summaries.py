"""Scalars for TensorBoard, written as event files."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from training.quiet_tensorflow import tf


class ScalarWriter:
    """Writes scalars to one event file; a context manager.

    It writes the records itself: an eager `tf.summary.scalar` takes about 0.3 ms, which at
    thousands of steps a second would be a good part of the training.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
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

"""Parts of a served graph that are prepared when a request needs them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from training.apart import apart
from training.export import decode_pictures, export_model
from training.quiet_tensorflow import tf


def first_run(folder: Path, files: list[bytes]) -> set[str]:
    """Run a SavedModel as servers do; return the operations that were prepared for it."""
    v1: Any = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        signature = v1.saved_model.load(session, ["serve"], str(folder)).signature_def["pictures"]
        [given], [output] = signature.inputs.values(), signature.outputs.values()
        metadata = v1.RunMetadata()
        session.run(
            output.name,
            {given.name: files},
            v1.RunOptions(output_partition_graphs=True),
            metadata,
        )
        return {node.op for graph in metadata.partition_graphs for node in graph.node}


def test_no_format_is_prepared_before_a_picture_has_it(tmp_path: Path) -> None:
    """TensorFlow worked for a second through the decoders of all formats, before the first PNG."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])  # type: ignore[untyped-decorator]
    def pictures(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"pictures": decode_pictures(image_bytes, 4, 4)}

    folder = export_model(tmp_path, tf.Module(), {"pictures": pictures})
    file = io.BytesIO()
    Image.new("L", (9, 9)).save(file, "PNG")
    operations = first_run(folder, [file.getvalue()])
    assert "StatefulPartitionedCall" in operations
    assert not any(name.startswith("Decode") for name in operations)


def test_a_part_gives_what_its_function_gives_in_any_graph() -> None:
    @apart
    def half(value: tf.Tensor) -> tf.Tensor:
        """Halve it."""
        return value / 2

    assert half.__doc__ == "Halve it."
    assert half(tf.constant(3.0)).numpy() == 1.5
    assert tf.function(lambda value: half(half(value)))(tf.constant(6.0)).numpy() == 1.5
    with tf.GradientTape() as tape:
        value = tf.constant(4.0)
        tape.watch(value)
        halved = half(value)
    assert tape.gradient(halved, value).numpy() == 0.5


def test_making_a_part_leaves_tensorflows_options_as_they_were() -> None:
    options = tf.config.optimizer
    before = options.get_experimental_options()

    @apart
    def fails(_: tf.Tensor) -> tf.Tensor:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails(tf.constant(1))
    after = options.get_experimental_options()
    assert after.get("disable_meta_optimizer", False) == before.get("disable_meta_optimizer", False)

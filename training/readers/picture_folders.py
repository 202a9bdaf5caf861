"""Pictures in a folder for each class: `data/cats/1.jpg`, `data/dogs/2/3.png`."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from training import suspects
from training.command_line import TrainingError
from training.readers.examples import Examples, Part, Shuffle, called, is_stored, threads
from training.readers.splits import check_share, held_out_names
from training.streams import REQUESTS, Folder, below, in_order, read_beginning
from training.streams import files as all_files

if TYPE_CHECKING:
    from training.quiet_tensorflow import tf

BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM")
"""First bytes of the formats that `training.pictures` decodes."""


class Pictures(Examples):
    """Pictures float32 [n, height, width, channels], 0..255, and their classes' numbers int64 [n].

    They are decoded as `training.pictures.decode_pictures` does it in a signature. One that can't
    be decoded ends the training with INVALID_ARGUMENT and its path.
    """

    def __init__(
        self,
        files: Sequence[Folder],
        labels: Sequence[int],
        classes: list[str],
        size: tuple[int, int, int],
        what: str,
    ) -> None:
        # Paths are small: all of them are shuffled.
        super().__init__(len(files), what, classes, buffer=max(1, len(files)))
        self._files, self._labels, self._size = files, labels, size
        suspects.add(files, self._problem)

    def _problem(self) -> suspects.Problem:
        from training.pictures import DAMAGED, decode_picture
        from training.quiet_tensorflow import tf

        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])  # type: ignore[untyped-decorator]
        def decoded(content: "tf.Tensor") -> "tf.Tensor":
            return tf.size(decode_picture(content, self._size[2]))

        def problem(file: Folder) -> str:
            try:
                decoded(tf.constant(file.read_bytes()))
            except tf.errors.InvalidArgumentError:
                return f"{DAMAGED} ({file})"
            return ""

        return problem

    def _references(self, shuffled: Shuffle, part: Part | None) -> "tf.data.Dataset":
        from training.quiet_tensorflow import tf

        paths = tf.constant([str(file) for file in self._files], tf.string)
        return tf.data.Dataset.from_tensor_slices((paths, tf.constant(self._labels, tf.int64)))

    def _batches(self, references: "tf.data.Dataset", size: int) -> "tf.data.Dataset":
        from training.pictures import decode_picture
        from training.quiet_tensorflow import tf

        height, width, channels = self._size

        def decoded(
            content: "tf.Tensor", file: "tf.Tensor", label: "tf.Tensor"
        ) -> "tuple[tf.Tensor, tf.Tensor]":
            picture = decode_picture(content, channels, file)
            return tf.image.resize(picture, [height, width], antialias=True), label

        def read(file: "tf.Tensor", label: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
            return decoded(tf.io.read_file(file), file, label)

        stored = {str(file).encode(): file for file in self._files if is_stored(file)}

        def fetched(file: "tf.Tensor", label: "tf.Tensor") -> "tuple[tf.Tensor, ...]":
            content = tf.numpy_function(lambda path: stored[path].read_bytes(), [file], tf.string)
            return tf.ensure_shape(content, []), file, label

        if stored:
            contents = references.map(fetched, REQUESTS, deterministic=True)
            pictures = contents.map(decoded, threads(), deterministic=True)
        else:
            pictures = references.map(read, threads(), deterministic=True)
        return pictures.batch(size)


def read(
    folder: Folder,
    *,
    height: int,
    width: int,
    channels: int = 3,
    classes: Sequence[str] | None = None,
    validation: float = 0.2,
    seed: int = 0,
    url: str | None = None,
) -> tuple[Pictures, Pictures]:
    """Return the pictures to train with, and those that are held out.

    Names that begin with a dot are passed over. Of each class the same share is held out, chosen by
    the files' paths: a file that is added moves hardly any other.

    Args:
        folder: has a folder for each class, with files at any depth.
        height, width: in pixels, of what the model sees. Proportions are not kept.
        channels: 3: red, green, blue; 1: grey.
        classes: their names in the order of their numbers; default: all folders, sorted by name.
        validation: the share that is held out, from 0 to below 1.
        seed: which ones.
        url: how the user called the folder, for errors.

    Raises:
        TrainingError: there are no classes, a class has no files, or a file is no picture.
    """
    check_share(validation)
    what = called(folder, url)
    found = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    if not found:
        raise TrainingError(
            f"{what} has no folders. Put a folder there for each class, with its pictures."
        )
    names = list(classes) if classes is not None else found
    strange = sorted(set(names) ^ set(found))
    if strange:
        raise TrainingError(
            f"{what} has the folders {', '.join(found)}, but the classes are {', '.join(names)}. "
            f"Add or remove {strange[0]!r}."
        )
    if len(names) < 2:
        raise TrainingError(
            f"{what} has one class, {names[0]!r}, and a classifier needs 2 at least. If the "
            f"classes are folders in {names[0]!r}, give that folder."
        )
    sets: tuple[list[tuple[Folder, int]], list[tuple[Folder, int]]] = ([], [])
    for number, name in enumerate(names):
        files = {below(file, folder).as_posix(): file for file in _files(folder / name)}
        if not files:
            raise TrainingError(
                f"The folder {name!r} in {what} has no files. Give it pictures, or remove it."
            )
        held_out = held_out_names(sorted(files), validation, seed)
        ordered = sorted(files.items())
        for (path, file), begins in zip(ordered, _beginnings([f for _, f in ordered]), strict=True):
            _check(begins, path, what)
            sets[path in held_out].append((file, number))
    size = (height, width, channels)
    training, held = (
        Pictures([file for file, _ in some], [label for _, label in some], names, size, what)
        for some in sets
    )
    return training, held


def _files(folder: Folder) -> list[Folder]:
    return [
        file
        for file in all_files(folder)
        if not any(part[0] == "." for part in below(file, folder).parts)
    ]


def _beginnings(some: Sequence[Folder]) -> Iterator[bytes]:
    """Yield the first bytes of files."""
    return (
        in_order(read_beginning, some, REQUESTS)
        if is_stored(some[0])
        else map(read_beginning, some)
    )


def _check(begins: bytes, path: str, what: str) -> None:
    if not begins.startswith(BEGINNINGS):
        fault = "is empty" if not begins else "is not a PNG, JPEG, WebP, GIF or BMP file"
        raise TrainingError(f"{path!r} in {what} {fault}. Remove it, or convert it.")

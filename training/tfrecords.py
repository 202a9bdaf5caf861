"""TFRecord files without TensorFlow: their records, and where these lie."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from training.command_line import TrainingError
from training.streams import PIECE_BYTES, Folder, in_pieces, opened

HEADER, FOOTER = struct.Struct("<QI"), 4
"""Of a record: its length and that number's checksum; after it, the content's checksum."""


@dataclass(frozen=True)
class Block:
    """Whole records that follow each other in a file that is not packed."""

    first: int
    """Byte of the file."""
    size: int
    """Bytes: some 4 MiB, or one record that is larger."""
    records: int


def records(file: Folder, what: str = "") -> Iterator[bytes]:
    """Yield the records of a file, packed by gzip or not. Their checksums are not compared.

    Args:
        what: how errors call the data set.

    Raises:
        TrainingError: it is not a complete TFRecord file.
    """
    number = 0
    with _complete(file, what), opened(file) as source:
        while header := source.read(HEADER.size):
            number += 1
            length = _length(header, number)
            record = source.read(length)
            if len(record) != length or len(source.read(FOOTER)) != FOOTER:
                raise EOFError(f"record {number} is not complete")
            yield record


def blocks(file: Folder, what: str = "") -> list[Block]:
    """Return where the records of a file lie that is not packed. It is read once, read ahead.

    Raises as `records` does.
    """
    found: list[Block] = []
    begin = following = count = total = position = 0
    held = b""
    with _complete(file, what):
        for piece in in_pieces(file):
            # What is held is the beginning of a header, at `following`.
            content = held + piece if held else piece
            start = position - len(held)
            position += len(piece)
            while following + HEADER.size <= position:
                total, count = total + 1, count + 1
                at = following - start
                length = _length(content[at : at + HEADER.size], total)
                following += HEADER.size + length + FOOTER
                if following - begin >= PIECE_BYTES:
                    found.append(Block(begin, following - begin, count))
                    begin, count = following, 0
            held = bytes(content[following - start :]) if following < position else b""
        if following != position:
            raise EOFError(f"record {total + bool(held)} is not complete")
    return [*found, Block(begin, following - begin, count)] if count else found


def split(content: "bytes | bytearray") -> list[bytes]:
    """Return the records of a block's bytes."""
    found, at, view = [], 0, memoryview(content)
    unpack, header, between = HEADER.unpack_from, HEADER.size, HEADER.size + FOOTER
    while at < len(content):
        length: int = unpack(content, at)[0]
        found.append(bytes(view[at + header : at + header + length]))
        at += between + length
    return found


def _length(header: Any, number: int) -> int:
    if len(header) < HEADER.size:
        raise EOFError(f"record {number} is not complete")
    length: int = HEADER.unpack(header)[0]
    return length


@contextmanager
def _complete(file: Folder, what: str) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, OverflowError, MemoryError, zlib.error) as error:
        raise not_complete(file, what, error) from error


def not_complete(file: Folder, what: str, error: Exception) -> TrainingError:
    """Return the error of a file that is cut off, or none of TFRecords."""
    name = f"{file.name!r} in {what}" if what else f"'{file}'"
    return TrainingError(
        f"{name} is not a complete TFRecord file: {error}. Write it again, or remove it."
    )

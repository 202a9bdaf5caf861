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

try:
    import google_crc32c
except ImportError:
    # An image of one's own may lack it: checksums are not compared there.
    google_crc32c = None  # type: ignore[assignment]

HEADER, FOOTER = struct.Struct("<QI"), 4
"""Of a record: its length and that number's checksum; after it, the content's checksum."""
_FOOTER, _LENGTH = struct.Struct("<I"), 8
_OTHER_CHECKSUM = "is not what its checksum says"


@dataclass(frozen=True)
class Block:
    """Whole records that follow each other in a file that is not packed."""

    first: int
    """Byte of the file."""
    size: int
    """Bytes: some 4 MiB, or one record that is larger."""
    records: int


def records(file: Folder, what: str = "") -> Iterator[bytes]:
    """Yield the records of a file, packed by gzip or not.

    Args:
        what: how errors call the data set.

    Raises:
        TrainingError: it is not a complete TFRecord file, or not what its checksums say.
    """
    number = 0
    with _complete(file, what), opened(file) as source:
        while header := source.read(HEADER.size):
            number += 1
            length = _length(header, number)
            record, footer = source.read(length), source.read(FOOTER)
            if len(record) != length or len(footer) != FOOTER:
                raise EOFError(f"record {number} is not complete")
            if not _is_right(record, footer):
                raise _damaged(number)
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


def split(content: "bytes | bytearray", file: Folder, what: str = "") -> list[bytes]:
    """Return the records of a block's bytes.

    Raises:
        TrainingError: one is not what its checksum says.
    """
    found: list[bytes] = []
    at, view = 0, memoryview(content)
    unpack, header = HEADER.unpack_from, HEADER.size
    while at < len(content):
        end: int = at + header + unpack(content, at)[0]
        record = bytes(view[at + header : end])
        if not _is_right(record, view[end : end + FOOTER]):
            place = f"record {len(found) + 1} of a block of {len(content)} bytes"
            raise not_complete(file, what, ValueError(f"{place} {_OTHER_CHECKSUM}"))
        found.append(record)
        at = end + FOOTER
    return found


def _length(header: Any, number: int) -> int:
    if len(header) < HEADER.size:
        raise EOFError(f"record {number} is not complete")
    length: int = HEADER.unpack(header)[0]
    # Before so many bytes are read: of a damaged file they may be an exabyte.
    if not _is_right(bytes(header[:_LENGTH]), header[_LENGTH:]):
        raise _damaged(number)
    return length


def _is_right(content: bytes, checksum: "bytes | bytearray | memoryview") -> bool:
    """Compare what follows it: CRC-32C, masked as in TensorFlow."""
    if google_crc32c is None:
        return True
    crc: int = google_crc32c.value(content)
    return _FOOTER.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF) == checksum


def _damaged(number: int) -> EOFError:
    return EOFError(f"record {number} {_OTHER_CHECKSUM}")


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

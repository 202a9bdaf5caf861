"""`requirements.txt`, with all that it names: what pip is told, and what tells it from another."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from training.command_line import TrainingError

NAME = "requirements.txt"

_FILE = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?=[^-\s]))(\S+)")
_HASH = re.compile(r"--hash=\w+:([0-9a-fA-F]+)")
_WITH_CREDENTIALS = re.compile(r"://([^/@\s]+)@([^\s@#;]+)")
_COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True)
class Requirements:
    """A requirements file and what it includes."""

    file: Path
    options: tuple[str, ...]
    """Its lines that are no requirement, such as `--index-url …`."""
    hashes: frozenset[str]
    """Of files that may be installed; empty: any may."""
    needs_hashes: bool
    wants_nothing: bool
    content: str
    """SHA-256 of all files that it names."""
    credentials: Mapping[str, str] = field(repr=False)
    """Address without scheme -> the credentials that stand before it: pip's report lacks them."""

    @classmethod
    def of(cls, file: Path) -> "Requirements":
        """Read a requirements file. Raises TrainingError when one that it names is not there."""
        lines = list(_lines(file, set()))
        texts = [text for _, text in lines]
        options = [text for text in texts if text.startswith("-") and not _FILE.match(text)]
        editable = [text for text in options if text.startswith(("-e", "--editable"))]
        hashes = {found.lower() for text in texts for found in _HASH.findall(text)}
        return cls(
            file=file,
            options=tuple(text for text in options if text not in editable),
            hashes=frozenset(hashes),
            needs_hashes=bool(hashes) or "--require-hashes" in options,
            wants_nothing=all(text.startswith("-") for text in texts) and not editable,
            content=_digest(file.parent, lines),
            credentials={
                found[2]: found[1] for text in texts for found in _WITH_CREDENTIALS.finditer(text)
            },
        )


def find(code_dir: Path, boot_file: str) -> Path | None:
    """Return the file beside the boot file, or else in the code folder; None: there is none."""
    for folder in ((code_dir / boot_file).parent, code_dir):
        if (folder / NAME).is_file():
            return folder / NAME
    return None


def _lines(file: Path, seen: set[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the lines of a file and of those that it includes, each with its file."""
    if file in seen:
        return
    seen.add(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise TrainingError(
            f"'{file.name}', which {NAME} names or is, can't be read: {reason}. Put it into "
            "the code folder, as text in UTF-8."
        ) from error
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = _COMMENT.sub("", line).strip()
        if not line:
            continue
        yield file, line
        if (included := _FILE.match(line)) and "://" not in included[1]:
            yield from _lines(file.parent / included[1], seen)


def _digest(folder: Path, lines: list[tuple[Path, str]]) -> str:
    """Return the digest of the lines, and of the local files and folders that they name."""
    local: dict[str, str] = {}
    for _, line in lines:
        for word in re.split(r"[\s=]+", line.replace("file://", "")):
            path = folder / re.sub(r"\[[^\]]*\]$", "", word)
            if word in ("", "-", ".."):
                continue
            try:
                files = [path] if path.is_file() else sorted(path.rglob("*"))
            except OSError:
                # Longer than any path, as an address with a signature is.
                continue
            for one in files:
                if one.is_file():
                    local[str(one.relative_to(folder) if one.is_relative_to(folder) else one)] = (
                        hashlib.sha256(one.read_bytes()).hexdigest()
                    )
    document = {"lines": [text for _, text in lines], "local": local}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

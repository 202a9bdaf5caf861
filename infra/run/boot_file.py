"""What can be seen of a boot file, and of what it imports beside it, before anything is made."""

import ast
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pulumi

from . import local_files

_IMAGE_PYTHON = (3, 11)
"""Of the runtime image, and the least that another one may have."""


def check(folder: Path, code: Mapping[str, str], boot_file: str, *, own_image: bool) -> None:
    """Refuse a boot file that Python can't run, or that imports such a file from its folder.

    Args:
        folder: the code folder.
        code: paths of its files.
        boot_file: one of them.
        own_image: whether `dlstack:image` is set. Its Python may be newer than this one, and read
            what this one doesn't: then it is a warning.

    Raises:
        pulumi.RunError: with file, line and what to do.
    """
    path = local_files.find(folder, boot_file)
    if zipfile.is_zipfile(path):
        # Python runs those.
        return
    content = path.read_bytes()
    if _is_notebook(content):
        raise pulumi.RunError(
            f"dlstack:bootFile '{boot_file}' is a notebook, and Python runs scripts only. Make one "
            f"of it with 'jupyter nbconvert --to script {boot_file}', let it read --data_url and "
            "write to --train_url (docs/training.md), and set dlstack:bootFile to it."
        )
    left, seen = [boot_file], set()
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.add(one)
        tree = _parse(one, local_files.find(folder, one).read_bytes(), boot_file, own_image)
        if tree is not None:
            left += _beside(tree, one, boot_file, code)


def _is_notebook(content: bytes) -> bool:
    if not content.lstrip().startswith(b"{"):
        return False
    try:
        document = json.loads(content)
    except ValueError:
        return False
    return isinstance(document, dict) and "cells" in document


def _parse(path: str, content: bytes, boot_file: str, own_image: bool) -> ast.Module | None:
    what = (
        f"dlstack:bootFile '{boot_file}'"
        if path == boot_file
        else f"'{path}', which dlstack:bootFile '{boot_file}' imports,"
    )
    try:
        with warnings.catch_warnings():
            # Of escapes in texts, for one: they are no errors.
            warnings.simplefilter("ignore")
            version = None if own_image else _IMAGE_PYTHON
            return ast.parse(content, path, feature_version=version)
    except (SyntaxError, ValueError) as error:
        if not own_image or isinstance(error, ValueError) or "codec" in str(error):
            raise pulumi.RunError(_refusal(what, path, content, error)) from error
        pulumi.log.warn(f"{_refusal(what, path, content, error)} (Read by this machine's Python.)")
        return None


def _refusal(what: str, path: str, content: bytes, error: SyntaxError | ValueError) -> str:
    if b"\0" in content:
        return f"{what} is not a Python script: it has NUL bytes. Name the script that trains."
    reason = getattr(error, "msg", None) or str(error)
    if isinstance(error, UnicodeDecodeError) or "utf-8" in reason.lower():
        line = _line_that_is_not_utf8(content)
        where = f"line {line}" if line else "its first lines"
        return (
            f"{what} is not text in UTF-8, in {where}. Save it in UTF-8, or name its encoding in "
            "its first line: '# -*- coding: latin-1 -*-'."
        )
    if content.startswith(b"#!") and b"python" not in content.partition(b"\n")[0]:
        return (
            f"{what} is not a Python script: it begins with "
            f"{content.partition(chr(10).encode())[0].decode(errors='replace')!r}. Name one, which "
            "may start this one ('subprocess.run')."
        )
    number: int | None = getattr(error, "lineno", None)
    source = content.decode(errors="replace").splitlines()
    quoted = f" ({source[number - 1].strip()[:80]!r})" if number and number <= len(source) else ""
    return (
        f"{what} has a syntax error: {reason}, line {number}{quoted}. Correct it: "
        f"'python3 -m py_compile {path}' shows it, too."
    )


def _line_that_is_not_utf8(content: bytes) -> int:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 0


def _beside(tree: ast.Module, path: str, boot_file: str, code: Mapping[str, str]) -> Iterator[str]:
    """Yield what a file imports of the code folder, as far as it always does."""
    here, top = PurePosixPath(path).parent, PurePosixPath(boot_file).parent
    for node in tree.body:
        modules: list[tuple[PurePosixPath, str]] = []
        if isinstance(node, ast.Import):
            modules = [(root, one.name) for one in node.names for root in (top, PurePosixPath())]
        elif isinstance(node, ast.ImportFrom):
            roots = [top, PurePosixPath()]
            if node.level:
                roots = [here, *here.parents][node.level - 1 : node.level]
            names = [node.module or "", *(f"{node.module or ''}.{a.name}" for a in node.names)]
            modules = [(root, name.strip(".")) for name in names for root in roots]
        for root, name in modules:
            if not name:
                continue
            file = root / name.replace(".", "/")
            for found in (f"{file}.py", str(file / "__init__.py")):
                if found in code:
                    yield found

"""Which modules of dlstack's own library a code folder trains with: those that count for its run.

An update of dlstack trains nothing anew unless it changes one of them. Modules are found by reading
source code, and nothing is imported. What can't be told for certain counts as the whole library.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import local_files, packages

PACKAGE = "training"

_MOVES_BYTES = frozenset({"agent", "board", "mirror", "__main__.py"})
"""What starts a boot file, and moves what it reads and writes. It decides nothing of the model, as
little as `store`. Should a change of it do so after all: raise `run_hash.VERSION`."""

_TEXT_BYTES = 2**20
"""No script is larger. Of data and weights that lie in a code folder nothing is read."""

_MAY_IMPORT = re.compile(rb"\b(?:import|from)[ \t]+training\b|-m[ \t]+training\b")
"""In files that are not Python: notebooks, shell scripts."""

_BY_NAME = re.compile(rb"import_module|__import__|runpy|[\"']-m[\"']")
"""In a file that imports what a text names, or starts it."""


def reached(folder: Path, code: Iterable[str], package: Mapping[str, str]) -> dict[str, str]:
    """Return relative path -> SHA-256 of what the code imports of the library, at once or by it.

    Args:
        folder: the code folder.
        code: the paths in it that are sent.
        package: path -> SHA-256 of the whole package, from `packages.read`.
    """
    library = {
        path: sha256
        for path, sha256 in package.items()
        if path.partition("/")[0] not in _MOVES_BYTES
    }
    found: set[str] = set()
    for path in code:
        modules = _of_code(local_files.find(folder, path))
        if modules is None:
            return library
        found |= modules
    files = _closure(found, library)
    return library if files is None else {path: library[path] for path in sorted(files)}


def _of_code(file: Path) -> set[str] | None:
    """Return the modules of the library that a file imports; None: any may be among them."""
    if file.stat().st_size > _TEXT_BYTES:
        return set()
    content = file.read_bytes()
    if file.suffix == ".py":
        return _imports(content)
    return None if _MAY_IMPORT.search(content) else set()


def _imports(source: bytes) -> set[str] | None:
    """Return the modules of the library that Python code names; None: it can't be told."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    found: set[str] = set()
    by_name = _BY_NAME.search(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            # `from training import trainer` names a module, and `*` all of them.
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif by_name and isinstance(node, ast.Constant) and _names_it(node.value):
            return None
    found = {name for name in found if name.partition(".")[0] == PACKAGE}
    return None if f"{PACKAGE}.*" in found else found


def _names_it(value: object) -> bool:
    return isinstance(value, str) and value.partition(".")[0] == PACKAGE


def _closure(modules: set[str], library: Mapping[str, str]) -> set[str] | None:
    """Return the files of modules and of all that they import; None: it can't be told."""
    files: set[str] = set()
    left = set(modules)
    while left:
        for path in _files(left.pop()):
            if path in files or path not in library:
                continue
            files.add(path)
            file = local_files.find(packages.REPOSITORY / PACKAGE, path)
            further = _imports(file.read_bytes())
            if further is None:
                return None
            left |= further
    return files


def _files(module: str) -> list[str]:
    """Return where a module would lie, with the packages around it: paths in the library."""
    parts = module.split(".")[1:]
    around = ["/".join([*parts[:count], "__init__.py"]) for count in range(len(parts) + 1)]
    return [*around, "/".join(parts) + ".py"]

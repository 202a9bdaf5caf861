"""Modules of the code folder that have the name of a package that boot files may import."""

import ast
from pathlib import Path

_TEXT_BYTES = 2**20


def is_meant(name: str, code_dir: Path, boot_file: str) -> bool:
    """Say whether the code folder's own folder `name` is meant, and ours would take its place.

    One with an `__init__.py` needs no help: the code folder is first on Python's path. One without
    is passed over by Python as soon as any other package has its name. So it is meant if the code
    imports something that it has.
    """
    for root in (code_dir, (code_dir / boot_file).parent):
        folder = root / name
        if (folder / "__init__.py").is_file() or not folder.is_dir():
            continue
        for module in _imported(name, code_dir):
            if (folder / f"{module}.py").is_file() or any((folder / module).rglob("*.py")):
                return True
    return False


def _imported(name: str, code_dir: Path) -> set[str]:
    """Return the modules directly in the package `name` that Python code of a folder names."""
    found: set[str] = set()
    for file in code_dir.rglob("*.py"):
        if not file.is_file() or file.stat().st_size > _TEXT_BYTES:
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [f"{node.module}.{one.name}" for one in node.names]
            else:
                continue
            parts = [one.split(".") for one in names]
            found |= {one[1] for one in parts if one[0] == name and len(one) > 1}
    return found

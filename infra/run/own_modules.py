"""Modules of the code folder that have the name of a package of dlstack's: whose is meant."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pulumi

from . import local_files

NAMES = ("training", "store")
"""Packages that boot files may import."""

_TEXT_BYTES = 2**20


def shadowed(
    folder: Path, code: Iterable[str], boot_file: str, library: Mapping[str, Iterable[str]]
) -> set[str]:
    """Return those of our packages in whose place the code folder has modules of its own.

    Its own are what its boot file gets, unless it imports ours as well: one name can't be both.

    Args:
        folder: the code folder.
        code: paths of its files.
        boot_file: one of them.
        library: name of a package of ours -> paths of its files.

    Raises:
        pulumi.RunError: the code imports its own and ours, or its own hides ours.
    """
    code = list(code)
    roots = dict.fromkeys((PurePosixPath(), PurePosixPath(boot_file).parent))
    own = {name: path for root in roots for name in NAMES if (path := _own(name, root, code))}
    if not own:
        return set()
    imported = _imported(folder, code)
    found, ours = set(), dict[str, str]()
    for name in NAMES:
        its = own.get(name)
        for module, file in sorted(imported.items()):
            if module.partition(".")[0] != name:
                continue
            has_it = its and _is_in(its.removesuffix("__init__.py"), module, code)
            if not has_it and _is_in("", module, library[name]):
                ours[name] = f"'{file}' imports '{module}' of dlstack"
            elif its:
                found.add(name)
        if its and name in ours and (name in found or not its.endswith("/")):
            _refuse(its, name, ours[name])
    # Our `training` imports our `store`.
    hidden = "store" in own and ("store" in found or not own["store"].endswith("/"))
    if hidden and "training" in ours:
        _refuse(own["store"], "store", f"{ours['training']}, which needs dlstack's 'store'")
    return found


def _own(name: str, root: PurePosixPath, code: Iterable[str]) -> str:
    """Return the module or package of a name: a path, of a folder without `__init__.py` with `/` at
    its end: Python takes ours then, if it finds it. Empty if there is none."""
    folder = str(root / name)
    for path in (f"{folder}.py", f"{folder}/__init__.py"):
        if path in code:
            return path
    is_there = any(path.startswith(f"{folder}/") and path.endswith(".py") for path in code)
    return f"{folder}/" if is_there else ""


def _imported(folder: Path, code: Iterable[str]) -> dict[str, str]:
    """Return module -> a file that imports it, of what Python code names."""
    found: dict[str, str] = {}
    for path in code:
        file = local_files.find(folder, path)
        if file.suffix != ".py" or file.stat().st_size > _TEXT_BYTES:
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
            found |= {name: path for name in names}
    return found


def _is_in(package: str, module: str, files: Iterable[str]) -> bool:
    """Say whether a package, the path of a folder with `/` at its end, has a module."""
    first = module.split(".")[1:2]
    path = package + "".join(first)
    return bool(first) and any(one == f"{path}.py" or one.startswith(f"{path}/") for one in files)


def _refuse(own: str, name: str, why: str) -> None:
    raise pulumi.RunError(
        f"dlstack:codeDir has modules of its own in '{own}', and {why}. Python finds only one "
        f"'{name}'. Rename yours, for example to 'my_{name}'."
    )

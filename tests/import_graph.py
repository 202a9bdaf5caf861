"""Which module imports which, read from the source: nothing is imported here.

An import counts wherever in the file it stands: inside a function and below TYPE_CHECKING, too.
"""

import ast
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One name that a file imports."""

    place: str
    """`path:line`."""
    name: str
    """Absolute, with dots: of a module, or of what is in one."""
    is_relative: bool
    """Whether it is written with leading dots."""


class Packages:
    """The modules below some folders of `root`, each with what it imports."""

    def __init__(self, root: Path, folders: tuple[str, ...]) -> None:
        paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
        self.imports: Mapping[str, list[Import]] = {
            _module(path.relative_to(root)): list(_imports(path, path.relative_to(root)))
            for path in paths
        }
        """Module -> its imports; a package stands for its `__init__`."""

    def module_of(self, name: str) -> str | None:
        """Return the module that has `name`, or is it; None if it isn't one of these packages."""
        while name and name not in self.imports:
            name = name.rpartition(".")[0]
        return name or None

    def graph(self) -> dict[str, set[str]]:
        """Return module -> the modules of these packages that it imports."""
        found = {}
        for module, imports in self.imports.items():
            targets = {self.module_of(one.name) for one in imports}
            found[module] = {target for target in targets if target not in (None, module)}
        return found


def circle(graph: Mapping[str, Set[str]]) -> list[str]:
    """Return a way in `graph` that ends where it begins; empty if there is none."""
    done: set[str] = set()

    def search(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        for target in sorted(graph.get(node, ())):
            if found := search(target, [*way, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := search(node, []))), [])


def _imports(path: Path, shown: Path) -> Iterator[Import]:
    package = [*shown.with_suffix("").parts][:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(f"{shown}:{node.lineno}", alias.name, False)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            for alias in node.names:
                parts = [*base, *filter(None, [node.module]), alias.name]
                yield Import(f"{shown}:{node.lineno}", ".".join(parts), node.level > 0)


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

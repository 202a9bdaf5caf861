"""What TensorBoard's projector reads: a `projector_config.pbtxt`, and the files that it names.

Paths in it may be absolute, of the machine that trained; in the copy they are the copy's own.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

CONFIG_FILE = "projector_config.pbtxt"

_PATH = re.compile(
    r'\b(tensor_path|metadata_path|image_path|bookmarks_path|model_checkpoint_path)(\s*:\s*)"'
    r'((?:[^"\\]|\\.)*)"'
)


@dataclass(frozen=True)
class Config:
    """A projector's configuration in a run's folder."""

    path: str
    """In the store, below all runs: `5a1dcbe51b2c/projector_config.pbtxt`."""
    text: str

    def files(self, listed: Collection[str]) -> set[str]:
        """Return those of the `listed` paths that it names; of a checkpoint all parts."""
        return {file for _, found in self._named(listed) for file in found}

    def localized(self, listed: Collection[str], place: Callable[[str], str]) -> str:
        """Return its text with paths of the copy.

        Args:
            listed: paths in the store.
            place: path in the store -> absolute path of the copy.
        """
        names = dict(self._named(listed))

        def replaced(match: "re.Match[str]") -> str:
            files = names.get(match[3])
            if not files:
                return match[0]
            first = min(files)
            if match[1] == "model_checkpoint_path":
                first = re.sub(r"\.(index|data-\d+-of-\d+)$", "", first)
            return f'{match[1]}{match[2]}"{place(first)}"'

        return _PATH.sub(replaced, self.text)

    def _named(self, listed: Collection[str]) -> Iterator[tuple[str, set[str]]]:
        for match in _PATH.finditer(self.text):
            for path in self._candidates(match[3]):
                found = {path} & set(listed)
                if match[1] == "model_checkpoint_path":
                    found = {
                        one for one in listed if one.startswith((f"{path}.index", f"{path}.data-"))
                    }
                if found:
                    yield match[3], found
                    break

    def _candidates(self, name: str) -> Iterator[str]:
        """Yield what a path may be in the store: beside the configuration, or in the run's folder,
        wherever that was on the machine that trained."""
        folder = PurePosixPath(self.path).parent
        run = folder.parts[0] if folder.parts else ""
        path = PurePosixPath(name)
        if ".." in path.parts:
            return
        if not path.is_absolute():
            yield str(folder / path)
            yield str(PurePosixPath(run) / path)
            return
        for number in range(1, len(path.parts)):
            yield str(PurePosixPath(run, *path.parts[number:]))

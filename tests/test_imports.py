"""Who may import whom (docs/architecture.md), read from the source: nothing is imported here.

Imports inside functions and below TYPE_CHECKING count like all others.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.import_graph import Import, Packages, circle

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("store", "infra", "training", "serving", "client", "local")
PACKAGES = Packages(ROOT, FOLDERS)

#: Folders that others may import, and which.
SHARED = {"store": {"infra", "training", "serving"}}

#: Whole frameworks, and folders that are not shipped, by the folders (or files of the root) that
#: may import them.
#: `tensorflow_serving` imports `tensorflow`.
OWNERS: dict[str, set[str]] = {
    "pulumi": {"infra", "__main__.py"},
    "pulumi_kubernetes": {"infra", "__main__.py"},
    "kubernetes": {"infra"},
    "tensorflow": {"training", "serving"},
    "tensorflow_serving": {"training", "serving"},
    "keras": {"training", "serving"},
    "boto3": {"store"},
    "botocore": {"store"},
    "s3transfer": {"store"},
    # Whoever ships a folder ships none of these.
    "tests": set(),
    "benchmarks": set(),
}

Rooms = Mapping[str, str]
"""Room of a folder -> the rooms that it may import.

A room is a package or a module directly in the folder, `__init__` the folder itself, and `*` all
modules that have no row: what everybody in the folder may use. `store` is the folder.
"""

ROOMS: dict[str, Rooms] = {
    # A call of boto3: from what is asked for to what went wrong.
    "store": {
        "__init__": "",
        "restoring": "backups folders marks prune_mark young models creation objects sending "
        "parallel client urls errors",
        "backups": "folders models objects sending parallel client urls errors",
        "prune_mark": "creation objects dialect client urls errors",
        "pruning": "prune_mark own_objects contents folders marks young models objects client urls "
        "errors",
        "own_objects": "folders models objects",
        "folders": "prune_mark marks young transfers file_names room slowness objects parallel "
        "client urls errors",
        "marks": "transfers sending objects parallel client urls errors",
        "models": "creation objects parallel client urls errors",
        "model_sources": "models transfers sending objects parallel client urls errors",
        "transfers": "fetching sending file_names objects dialect parallel client urls",
        "fetching": "file_names parallel client urls errors",
        "sending": "dialect parallel client urls errors",
        "bucket_marks": "creation objects dialect client urls errors",
        "creation": "objects dialect client urls errors",
        "contents": "objects parallel client urls errors",
        "copying": "sending objects parallel client urls errors",
        "file_names": "objects urls errors",
        "streams": "client patience urls errors",
        "objects": "dialect parallel client urls errors",
        "buckets": "client errors",
        "dialect": "client urls errors",
        "client": "access authorities requests parallel errors",
        "requests": "",
        "access": "",
        "authorities": "",
        "urls": "errors",
        "parallel": "",
        "patience": "errors",
        "room": "errors",
        "slowness": "",
        "young": "errors",
        "errors": "",
    },
    # A deployment: from the settings to objects in the cluster and in buckets.
    "infra": {
        "__init__": "",
        "__main__": "commands",
        "program": "settings run components resources cluster store",
        "commands": "run resources cluster store",
        "components": "run resources cluster store",
        "run": "settings cluster store",
        "settings": "cluster store",
        "resources": "run cluster store",
        "cluster": "store",
    },
    # A request: from a port to TensorFlow.
    "serving": {
        "__init__": "",
        "__main__": "server engine *",
        "server": "ports predict models batching *",
        "ports": "wire predict models batching *",
        "predict": "wire models *",
        "wire": "models *",
        "models": "batching engine *",
        "batching": "*",
        "engine": "*",
        "check": "predict models engine *",
        "gateway": "*",
        "sync": "store *",
        "*": "",
    },
    # A question: from the command line to the wire.
    "client": {
        "__init__": "_calls _inputs _transports *",
        "__main__": "_command",
        "_command": "_calls _inputs _settings *",
        "_calls": "_inputs _outputs _settings _transports *",
        "_settings": "_transports *",
        "_outputs": "_inputs *",
        "_inputs": "*",
        "_transports": "*",
        "*": "",
    },
    # A run: from the agent or an example to the library, which knows nobody who uses it.
    "training": {
        "__init__": "",
        "__main__": "agent board trying add_about command_line",
        "trying": "agent command_line store *",
        "agent": "mirror command_line store *",
        "board": "command_line store",
        "datasets": "command_line",
        "mnist": "trainer pictures command_line *",
        "add_about": "command_line *",
        "trainer": "steps export command_line *",
        "readers": "pictures command_line *",
        "keras_callback": "keras_workers command_line *",
        "keras_workers": "steps command_line *",
        "export": "pictures command_line *",
        "pictures": "formats *",
        "formats": "*",
        "steps": "command_line *",
        "*": "mirror command_line store",
        "mirror": "command_line store",
        "command_line": "store",
    },
    # A command: from its name to the machine.
    "local": {
        "__init__": "",
        "__main__": "commands doctor platform *",
        "commands": "platform doctor brought stack machine *",
        "doctor": "machine *",
        "platform": "preparation brought stack kubernetes build machine *",
        "preparation": "stack build machine *",
        "brought": "build machine *",
        "stack": "build machine *",
        "kubernetes": "build machine *",
        "build": "machine *",
        "machine": "*",
        "*": "",
    },
}


def imports_of(packages: Packages, folder: str) -> list[tuple[str, Import]]:
    """Return module and import of all that a folder's modules import."""
    return [
        (module, one)
        for module, imports in packages.imports.items()
        for one in imports
        if module.partition(".")[0] == folder
    ]


def top(name: str) -> str:
    return name.partition(".")[0]


def of_others(packages: Packages, folder: str, forbidden: set[str]) -> list[str]:
    """Return the imports of a folder that are of the `forbidden` packages."""
    return [
        f"{one.place} imports {one.name}"
        for _, one in imports_of(packages, folder)
        if top(one.name) in forbidden
    ]


def tensorflow_itself(packages: Packages) -> list[str]:
    """Return the server's imports of TensorFlow that are not messages, outside of its engine."""
    return [
        f"{one.place} imports {one.name}"
        for module, one in imports_of(packages, "serving")
        if top(one.name) in ("tensorflow", "tensorflow_serving")
        and not any(part.endswith("_pb2") for part in one.name.split("."))
        and not module.startswith("serving.engine.")
    ]


def arrows(rooms: Rooms, packages: Packages, folder: str) -> dict[tuple[str, str], list[str]]:
    """Return (room, imported room) -> the imports that lead from the one to the other."""

    def room(module: str) -> str:
        if top(module) != folder:
            return top(module)
        name = "__init__" if module == folder else module.split(".")[1]
        return name if name in rooms else "*"

    found: dict[tuple[str, str], list[str]] = {}
    for module, one in imports_of(packages, folder):
        target = packages.module_of(one.name)
        if target is not None and room(target) != room(module):
            way = (room(module), room(target))
            found.setdefault(way, []).append(f"{one.place} imports {one.name}")
    return found


def allowed(rooms: Rooms) -> set[tuple[str, str]]:
    return {(room, other) for room, others in rooms.items() for other in others.split()}


def against(rooms: Rooms, packages: Packages, folder: str) -> list[str]:
    """Return the imports of a folder that its table of `rooms` doesn't have."""
    found = arrows(rooms, packages, folder)
    return [place for way in sorted(found.keys() - allowed(rooms)) for place in found[way]]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folders_import_none_of_each_other_but_what_is_shared(folder: str) -> None:
    others = set(FOLDERS) - {folder}
    may = {shared for shared, users in SHARED.items() if folder in users}
    assert of_others(PACKAGES, folder, others - may) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_frameworks_are_imported_only_by_their_owners(folder: str) -> None:
    foreign = {name for name, owners in OWNERS.items() if folder not in owners}
    assert of_others(PACKAGES, folder, foreign) == []


def test_of_tensorflow_the_server_imports_messages_only() -> None:
    """The engine loads what it needs of the rest in 0.4 s, where all of it takes 4 s."""
    assert tensorflow_itself(PACKAGES) == []


@pytest.mark.parametrize("folder", ["infra", "serving", "client"])
def test_packages_that_may_be_renamed_import_themselves_relatively(folder: str) -> None:
    own = [one for _, one in imports_of(PACKAGES, folder) if top(one.name) == folder]
    assert [one.place for one in own if not one.is_relative] == []


def test_no_module_imports_itself_through_others() -> None:
    assert circle(PACKAGES.graph()) == []


@pytest.mark.parametrize("folder", ROOMS)
def test_the_rooms_of_a_folder_import_in_one_direction(folder: str) -> None:
    assert against(ROOMS[folder], PACKAGES, folder) == []
    assert circle({room: set(may.split()) for room, may in ROOMS[folder].items()}) == []


@pytest.mark.parametrize("folder", ROOMS)
def test_the_tables_allow_nothing_that_is_not_used(folder: str) -> None:
    rooms = ROOMS[folder]
    assert allowed(rooms) - arrows(rooms, PACKAGES, folder).keys() == set()


@pytest.mark.parametrize("room", ["infra.components", "infra.resources"])
def test_what_is_declared_sees_no_settings_through_others_either(room: str) -> None:
    """Components and resources are told what they need, by plain values."""
    graph = PACKAGES.graph()
    seen = {module for module in graph if module.startswith(room)}
    new = seen
    while new := {target for module in new for target in graph[module]} - seen:
        seen |= new
    assert not {module for module in seen if module.startswith("infra.settings")}


class TestAnOffenceIsFound:
    """In a folder of the test's own."""

    @staticmethod
    def packages(root: Path, folder: str = "infra", **sources: str) -> Packages:
        """A package with these modules; `__` in a name stands for a dot."""
        for name, source in sources.items():
            path = (root / folder / name.replace("__", "/")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return Packages(root, (folder,))

    def test_of_a_framework_inside_a_function(self, tmp_path: Path) -> None:
        found = self.packages(tmp_path, one="\ndef f():\n    import tensorflow.keras as keras\n")
        assert of_others(found, "infra", {"tensorflow"}) == [
            "infra/one.py:3 imports tensorflow.keras"
        ]

    def test_of_tensorflow_itself_in_the_server(self, tmp_path: Path) -> None:
        found = self.packages(
            tmp_path,
            "serving",
            wire="from tensorflow.core.framework import tensor_pb2\nfrom tensorflow import io\n",
            engine__c_api="import tensorflow\n",
        )
        assert tensorflow_itself(found) == ["serving/wire.py:2 imports tensorflow.io"]

    def test_of_another_folder(self, tmp_path: Path) -> None:
        found = self.packages(tmp_path, one="from serving.models import version\n")
        assert of_others(found, "infra", {"serving"}) == [
            "infra/one.py:1 imports serving.models.version"
        ]

    def test_of_a_circle_below_type_checking(self, tmp_path: Path) -> None:
        found = self.packages(
            tmp_path,
            one="from . import two\n",
            two="from .run.three import Three\n",
            run__three="if TYPE_CHECKING:\n    from .. import one\n",
        )
        assert circle(found.graph()) == ["infra.one", "infra.two", "infra.run.three", "infra.one"]

    def test_of_a_room_above(self, tmp_path: Path) -> None:
        found = self.packages(
            tmp_path,
            settings__load="def f():\n    from ..components.job import Job\n",
            components__job="import infra.cluster.api\n",
            cluster__api="",
        )
        assert against(ROOMS["infra"], found, "infra") == [
            "infra/settings/load.py:2 imports infra.components.job.Job"
        ]

    def test_of_an_absolute_import_of_its_own_folder(self, tmp_path: Path) -> None:
        found = self.packages(tmp_path, one="from infra import two\n", two="from . import three\n")
        assert [one.is_relative for _, one in imports_of(found, "infra")] == [False, True]

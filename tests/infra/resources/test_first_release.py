"""A stack's state names the classes of dynamic resources by their paths, and keeps their outputs.

`first_release.json` has what the first release writes: a later program has to read it, or nobody
can destroy such a stack. A resource that comes later gets an entry in the release that it comes
with (`pulumi stack export` shows it); an entry is never changed. On a real cluster:
`tests/cluster/with_own_stacks/test_life_of_a_stack.py`.
"""

import base64
import importlib
import json
import pkgutil
import subprocess
import sys

import dill
import pytest
from pulumi.dynamic import Resource
from pulumi.dynamic.dynamic import serialize_provider

from infra import resources
from local.home import REPOSITORY
from tests.infra.resources.first_release import RECORDS


def declared() -> set[str]:
    """The types of all dynamic resources of the program."""
    for module in pkgutil.iter_modules(resources.__path__):
        importlib.import_module(f"{resources.__name__}.{module.name}")
    return {
        f"pulumi-python:{one._resource_type_name}"
        for one in Resource.__subclasses__()
        if one.__module__.startswith(f"{resources.__name__}.")
    }


def test_each_dynamic_resource_has_an_entry():
    assert declared() <= set(RECORDS)


@pytest.mark.parametrize("type_", RECORDS)
def test_a_provider_of_the_first_release_is_found_and_is_the_one_of_now(type_):
    provider = dill.loads(base64.b64decode(RECORDS[type_]["provider"]))
    for method in ("check", "diff", "create", "read", "update", "delete"):
        assert callable(getattr(provider, method))
    # Else each stack would change with the next `up`, and its resources depend on both.
    assert serialize_provider(type(provider)()) == RECORDS[type_]["provider"]


def test_a_process_that_has_imported_nothing_finds_them():
    """As Pulumi's plugin for dynamic resources does."""
    texts = [record["provider"] for record in RECORDS.values()]
    program = "import base64, dill, json, sys\nfor text in json.load(sys.stdin):\n"
    program += "    dill.loads(base64.b64decode(text))\n"
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        input=json.dumps(texts),
        text=True,
        check=True,
    )

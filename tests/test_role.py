"""examples/role.yaml, held against what the program declares. That it suffices for a stack's whole
life is seen on a real cluster: tests/cluster/with_own_stacks/test_life_of_a_stack.py."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DEPLOYER, VIEWER = yaml.safe_load_all((ROOT / "examples" / "role.yaml").read_text())
DECLARED = {"get", "list", "watch", "create", "patch", "update", "delete"}
"""What Pulumi's Kubernetes plugin does with what is declared."""


def allowed(role: dict, group: str, resource: str) -> set[str]:
    """The verbs that a Role gives for a kind."""
    return {
        verb
        for rule in role["rules"]
        if group in rule["apiGroups"] and resource in rule["resources"]
        for verb in rule["verbs"]
    }


def declared() -> Iterator[tuple[str, str]]:
    """Group and kind of what components and program declare, from what they import."""
    for folder in ("components", "program"):
        for file in sorted((ROOT / "infra" / folder).glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                found = isinstance(node, ast.ImportFrom) and re.fullmatch(
                    r"pulumi_kubernetes\.(\w+)\.v\w+", node.module or ""
                )
                if found:
                    kinds = [one.name for one in node.names if not one.name.endswith("Args")]
                    yield from ((found[1], kind) for kind in kinds)


GROUPS = {
    "core": "",
    "apps": "apps",
    "autoscaling": "autoscaling",
    "batch": "batch",
    "networking": "networking.k8s.io",
    "policy": "policy",
}


@pytest.mark.parametrize(("module", "kind"), sorted({*declared()} - {("core", "Namespace")}))
def test_the_deployer_may_do_all_with_what_is_declared(module: str, kind: str):
    plural = re.sub(r"y$", "ie", kind.lower()) + ("es" if kind.endswith("ss") else "s")
    assert allowed(DEPLOYER, GROUPS[module], plural) >= DECLARED, plural


def test_the_deployer_sees_what_pulumi_waits_for_at_a_load_balancer():
    """Refused, Pulumi's plugin says nothing and waits for its ten minutes."""
    assert allowed(DEPLOYER, "", "endpoints") >= {"list", "watch"}


def test_the_viewer_changes_nothing_and_reads_no_secret():
    verbs = {verb for rule in VIEWER["rules"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
    assert not allowed(VIEWER, "", "secrets")


def test_neither_asks_for_anything_of_the_whole_cluster():
    assert {role["kind"] for role in (DEPLOYER, VIEWER)} == {"Role"}
    for role in (DEPLOYER, VIEWER):
        assert all("*" not in rule["verbs"] + rule["resources"] for rule in role["rules"])

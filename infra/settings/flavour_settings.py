"""The value of `dlstack:flavours`: flavours of a cluster of one's own, checked."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ..cluster.flavour import GIB, Flavour, Toleration
from ..cluster.quantities import is_size, quantity

_KEYS = (
    *("cpu", "cpuLimit", "memory", "memoryLimit", "disk", "gpus", "gpuResource"),
    *("nodeSelector", "tolerations"),
)
_TOLERATION_KEYS = ("key", "operator", "value", "effect", "tolerationSeconds")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_RESOURCE = re.compile(r"[a-z0-9.-]+/[A-Za-z0-9._-]+")
_LEAST_MEMORY = 2**26

Fail = Callable[[str], NoReturn]
"""Raises the error of a value. What it is given ends without a full stop."""


def read(document: Mapping[str, Any], fail: Fail) -> dict[str, Flavour]:
    """Return name -> flavour for the object of `dlstack:flavours`."""
    found = {}
    for name, fields in document.items():
        if not _NAME.fullmatch(name):
            fail(f"has the name '{name}'. Use lower-case letters, digits, '-' and '.'")

        def fail_here(problem: str, name: str = name) -> NoReturn:
            fail(f"has '{name}' {problem}")

        found[name] = _flavour(name, fields, fail_here)
    return found


def _flavour(name: str, fields: Any, fail: Fail) -> Flavour:
    if not isinstance(fields, dict):
        fail(
            "with a value that is not an object. "
            'Write it like {"cpu": 8, "memory": "64Gi", "gpus": 1}'
        )
    for key in fields:
        if key not in _KEYS:
            fail(f"with the unknown key '{key}'. Use: {', '.join(_KEYS)}")
    for key in ("cpu", "memory"):
        if key not in fields:
            fail(f"without '{key}'. Say what it reserves, as 8 cores and '64Gi'")
    memory = _memory(fields["memory"], "memory", fail)
    limit = _memory(fields.get("memoryLimit", fields["memory"]), "memoryLimit", fail)
    if limit < memory:
        fail("with a memoryLimit below its memory. Set it to the memory or more, or leave it out")
    cpu = _cores(fields["cpu"], "cpu", fail)
    cpu_limit = _cores(fields["cpuLimit"], "cpuLimit", fail) if "cpuLimit" in fields else None
    if cpu_limit is not None and cpu_limit < cpu:
        fail("with a cpuLimit below its cpu. Set it to the cpu or more, or leave it out")
    disk = _memory(fields["disk"], "disk", fail) / GIB if "disk" in fields else None
    gpus = str(fields.get("gpus", 0))
    if not gpus.isdecimal():
        fail(f"with gpus '{gpus}'. Write a whole number")
    resource = fields.get("gpuResource", Flavour.gpu_resource)
    if not _RESOURCE.fullmatch(str(resource)):
        fail(f"with gpuResource '{resource}'. Name it like 'nvidia.com/gpu'")
    if "gpuResource" in fields and not int(gpus):
        fail("with a gpuResource, but without gpus. Say how many, or leave it out")
    return Flavour(
        name=name,
        cpu=cpu,
        cpu_limit=cpu_limit,
        memory_gib=memory / GIB,
        memory_limit_gib=limit / GIB,
        disk_gib=disk,
        gpus=int(gpus),
        gpu_resource=resource,
        node_selector=node_selector(fields.get("nodeSelector", {}), fail),
        own_tolerations=tolerations(fields.get("tolerations", []), fail),
    )


def _cores(value: Any, key: str, fail: Fail) -> float:
    try:
        cores = quantity(str(value))
    except ValueError:
        cores = 0.0
    if cores < 0.001:
        fail(f"with {key} '{value}'. Write a number of cores, as 8 or '500m'")
    return cores


def _memory(value: Any, key: str, fail: Fail) -> float:
    if not is_size(str(value), _LEAST_MEMORY):
        fail(
            f"with {key} '{value}', which is not a size of 64Mi or more. Use a number with a unit, "
            "as '64Gi'"
        )
    return quantity(str(value))


def node_selector(selector: Any, fail: Fail) -> dict[str, str]:
    """Return a node selector as it is written, if it is one."""
    if not isinstance(selector, dict):
        fail('with a nodeSelector that is not an object. Write it like {"pool": "gpu"}')
    for label, value in selector.items():
        # `true` would be another text than what the label says.
        if not isinstance(value, str):
            fail(f"with a nodeSelector whose '{label}' is not a text. Put it in quotes")
    return dict(selector)


def tolerations(written: Any, fail: Fail) -> tuple[Toleration, ...]:
    """Return tolerations, written as in Kubernetes, if they are such."""
    example = 'Write it like [{"key": "gpu", "operator": "Exists"}]'
    if not isinstance(written, list) or not all(isinstance(one, dict) for one in written):
        fail(f"with tolerations that are not a list of objects. {example}")
    return tuple(_toleration(one, fail) for one in written)


def _toleration(fields: Mapping[str, Any], fail: Fail) -> Toleration:
    for key in fields:
        if key not in _TOLERATION_KEYS:
            fail(
                f"with the unknown key '{key}' in a toleration. Use: {', '.join(_TOLERATION_KEYS)}"
            )
    for key in ("key", "operator", "value", "effect"):
        if not isinstance(fields.get(key, ""), str):
            fail(f"with a toleration whose '{key}' is not a text. Put it in quotes")
    operator, effect = fields.get("operator", "Equal"), fields.get("effect")
    if operator not in ("Equal", "Exists"):
        fail(f"with the operator '{operator}' in a toleration. Use Equal or Exists")
    if operator == "Exists" and fields.get("value"):
        fail("with a toleration that has a value and the operator Exists. Remove one of them")
    if operator == "Equal" and not fields.get("key"):
        fail("with a toleration that has no key. Name one, or use the operator Exists")
    if effect is not None and effect not in _EFFECTS:
        fail(f"with the effect '{effect}' in a toleration. Use {', '.join(_EFFECTS)}")
    seconds = fields.get("tolerationSeconds")
    if seconds is not None and (not str(seconds).isdecimal() or effect != "NoExecute"):
        fail(
            f"with tolerationSeconds '{seconds}' in a toleration. Write a whole number, with the "
            "effect NoExecute"
        )
    return Toleration(
        key=fields.get("key"),
        operator=operator,
        value=fields.get("value"),
        effect=effect,
        seconds=None if seconds is None else int(seconds),
    )

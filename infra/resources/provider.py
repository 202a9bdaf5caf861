"""What every dynamic provider of dlstack shares. Its path is part of existing stacks' state."""

import logging
from collections.abc import Mapping
from typing import Any

from pulumi.dynamic import CheckFailure, CheckResult, ConfigureRequest, ResourceProvider
from pulumi.output import Unknown

from ..cluster.clusters import Cluster
from . import engine

_METHODS = ("check", "diff", "create", "read", "update", "delete")


class Provider(ResourceProvider):
    """A provider without state, whose expected errors are printed without a traceback."""

    # It captures nothing, and a plain value shows in a diff that the provider stays the same.
    serialize_as_secret_always = False

    def __init_subclass__(cls) -> None:
        for name in _METHODS:
            if name in cls.__dict__:
                setattr(cls, name, engine.answering(cls.__dict__[name]))

    def configure(self, req: ConfigureRequest) -> None:
        # Pulumi gets the message by gRPC; the same error in gRPC's log is a page of traceback.
        logging.getLogger("grpc._server").addFilter(_unexpected)
        engine.end_with_it()
        engine.hear_interrupts()

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        failures = [
            CheckFailure(name, f"{name} is empty. Give it a value.")
            for name, value in inputs_of(news).items()
            if value == "" and name not in self.may_be_empty
        ]
        return CheckResult(news, failures)

    may_be_empty: frozenset[str] = frozenset()
    """Inputs for which an empty text is a value."""


def inputs_of(props: Mapping[str, Any]) -> dict[str, Any]:
    """Return `props` without Pulumi's own, as a new dictionary."""
    return {key: value for key, value in props.items() if not key.startswith("__")}


def changed(olds: Mapping[str, Any], news: Mapping[str, Any], *keys: str) -> list[str]:
    """Return those of `keys` whose values differ.

    What a preview does not know yet is not another value. Nor is another way to the same cluster,
    but for its context, by which the old state would go on to look for it.
    """
    return [key for key in keys if not _same(olds.get(key), news.get(key))]


def _same(old: Any, new: Any) -> bool:
    if isinstance(new, Unknown):
        return True
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = {"context"} if _is_cluster(new) else {*old, *new}
        return all(_same(old.get(key), new.get(key)) for key in keys)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    return bool(old == new)


def _is_cluster(value: Mapping[str, Any]) -> bool:
    return Cluster.__required_keys__ <= value.keys() <= Cluster.__annotations__.keys()


def _unexpected(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, engine.EXPECTED)

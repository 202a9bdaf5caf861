"""The keys that say what all pods have, checked: what a company's cluster asks of them."""

import re
from typing import NoReturn

from ..cluster import names
from ..cluster.pod_defaults import QUEUE_LABEL, USER, PodDefaults
from . import flavour_settings
from .reader import Reader

ASSIGNED = "assigned"
"""Value of `runAsUser` where the cluster gives each namespace ids of its own."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_KEY = re.compile(
    r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_OWN_LABELS = tuple(names.labels("", ""))


def read(reader: Reader) -> PodDefaults:
    """Return what all pods have."""
    return PodDefaults(
        image_pull_secrets=_names(reader, "imagePullSecrets"),
        service_account=_name(reader, "serviceAccount"),
        labels=_pod_labels(reader),
        annotations=texts(reader, "podAnnotations"),
        priority_class=_name(reader, "priorityClass"),
        node_selector=flavour_settings.node_selector(
            reader.objects("nodeSelector", _how_to_set("nodeSelector")),
            _fail(reader, "nodeSelector"),
        ),
        tolerations=flavour_settings.tolerations(
            reader.items("tolerations", _how_to_set("tolerations", "[0].key")),
            _fail(reader, "tolerations"),
        ),
        user=_user(reader),
    )


def queue(reader: Reader) -> str | None:
    """Return the name of the queue in which training Jobs wait for room; None: they don't."""
    return _name(reader, "queue")


def is_user_set(reader: Reader) -> bool:
    """Say whether the configuration decides who pods run as; else the cluster is asked."""
    return bool(reader.text("runAsUser"))


def _user(reader: Reader) -> int | None:
    if reader.text("runAsUser") == ASSIGNED:
        return None
    text = reader.text("runAsUser", str(USER))
    # 0 is root, which no pod may be.
    if not re.fullmatch(r"[1-9]\d{0,9}", text) or int(text) >= 2**31:
        reader.fail(
            "runAsUser",
            f"is neither a user's number above 0 nor '{ASSIGNED}', for clusters that assign ids "
            "to each namespace. Use one of them",
        )
    return int(text)


def _name(reader: Reader, key: str) -> str | None:
    name = reader.text(key)
    if name and not _NAME.fullmatch(name):
        reader.fail(key, "is not a name. Use lower-case letters, digits, '-' and '.'")
    return name or None


def _names(reader: Reader, key: str) -> tuple[str, ...]:
    found = tuple(filter(None, re.split(r"[\s,]+", reader.text(key))))
    for name in found:
        if not _NAME.fullmatch(name):
            reader.fail(key, f"has '{name}', which is not a name. Write names with commas between")
    return found


def texts(reader: Reader, key: str) -> dict[str, str]:
    """Return a value that is an object of names, as those of annotations, and texts."""
    found = reader.objects(key, _how_to_set(key))
    for name, value in found.items():
        if not _KEY.fullmatch(name):
            reader.fail(
                key, f"has '{name}', which can't be a key. Write it like 'example.com/team'"
            )
        # `true` would be another text than what was meant.
        if not isinstance(value, str):
            reader.fail(key, f"has '{name}' with a value that is not a text. Put it in quotes")
    return found


def labels(reader: Reader, key: str) -> dict[str, str]:
    """Return labels for objects of the stack, beside those that it sets itself."""
    found = texts(reader, key)
    for name, value in found.items():
        if name in _OWN_LABELS:
            reader.fail(key, f"has '{name}', which the stack sets itself. Remove it")
        if not _LABEL_VALUE.fullmatch(value):
            reader.fail(
                key,
                f"has '{name}' with the value '{value}', which can't be a label's. Use at most 63 "
                "letters, digits, '-', '_' and '.'",
            )
    return found


def _pod_labels(reader: Reader) -> dict[str, str]:
    found = labels(reader, "podLabels")
    if QUEUE_LABEL in found:
        reader.fail(
            "podLabels", f"has '{QUEUE_LABEL}', which belongs to the Job. Set dlstack:queue"
        )
    return found


def _how_to_set(key: str, part: str = ".NAME") -> str:
    return f"Set one with 'pulumi config set --path dlstack:{key}{part} VALUE'"


def _fail(reader: Reader, key: str) -> flavour_settings.Fail:
    def fail(problem: str) -> NoReturn:
        reader.fail(key, f"comes {problem}")

    return fail

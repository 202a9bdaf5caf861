"""The rules that Kubernetes, S3 and the model server have for names.

A name that breaks a rule is refused, never shortened or rewritten in silence.
"""

import re

import pulumi

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_MODEL = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*")


def stack(name: str) -> str:
    """Return `name`, `<project>-<stack>`, if it can be the value of a label."""
    if not _LABEL_VALUE.fullmatch(name):
        raise pulumi.RunError(
            f"'{name}', the names of project and stack, can't be a label in the cluster: at most "
            "63 letters, digits, '-', '_' and '.', with a letter or digit at both ends. Run "
            "'pulumi stack rename'."
        )
    return name


def namespace(name: str) -> str:
    """Return `name` if Kubernetes takes it as a namespace."""
    if len(name) > 63 or not _DNS_LABEL.fullmatch(name):
        raise pulumi.RunError(
            f"'{name}' can't name a namespace: at most 63 lower-case letters, digits and '-', "
            "with a letter or digit at both ends. Set dlstack:namespace."
        )
    return name


def bucket(prefix: str, role: str) -> str:
    """Return the name of the bucket for `role`, if S3 takes it.

    Dots are legal in bucket names but break TLS with virtual-host addressing, so they are refused.
    """
    name = f"{prefix}-{role}"
    if not 3 <= len(name) <= 63 or not _DNS_LABEL.fullmatch(name):
        raise pulumi.RunError(
            f"'{name}' can't name a bucket: 3 to 63 lower-case letters, digits and '-', with a "
            "letter or digit at both ends. Set dlstack:bucketPrefix."
        )
    return name


def given_bucket(name: str, key: str) -> str:
    """Return the name of a bucket that somebody else has made; it may have dots.

    Raises:
        pulumi.RunError: no bucket has such a name.
    """
    if not 3 <= len(name) <= 63 or not all(map(_DNS_LABEL.fullmatch, name.split("."))):
        raise pulumi.RunError(
            f"{key} '{name}' can't be the name of a bucket. Set it to that of one that is there."
        )
    return name


def model(name: str) -> str:
    """Return `name` if it can be a model name: part of URLs, object keys and file paths."""
    if len(name) > 100 or not _MODEL.fullmatch(name):
        raise pulumi.RunError(
            f"'{name}' can't name a model: at most 100 letters, digits, '-', '_' and '.', with a "
            "letter or digit first. Set dlstack:modelName."
        )
    return name


def stack_id(text: str) -> str:
    """Return `text` if it can be the value of a label; empty: no id."""
    if text and not _LABEL_VALUE.fullmatch(text):
        raise pulumi.RunError(
            f"dlstack:stackId '{text}' can't be an id. Use the one of the stack to take over: "
            "'kubectl get namespaces --label-columns dlstack.dev/stack-id' shows them."
        )
    return text

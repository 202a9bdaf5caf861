"""What a stack keeps of a person's kubeconfig. That Kubernetes' clients take it is for the cluster.

kubectl's `config view --minify --flatten --raw` is the model.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.cluster import kubeconfig


def config(**parts: Any) -> dict[str, Any]:
    cluster = {"server": "https://a.example:6443", "certificate-authority": "ca.crt"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "mine",
        "clusters": [
            {"name": "a", "cluster": cluster | parts.get("cluster", {})},
            {"name": "b", "cluster": {"server": "https://b.example"}},
        ],
        "users": [{"name": "me", "user": parts.get("user", {"token": "t0ken"})}],
        "contexts": [
            {"name": "mine", "context": {"cluster": "a", "user": "me", "namespace": "x"}},
            {"name": "other", "context": {"cluster": "b", "user": "me"}},
        ],
    }


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "config").write_text(json.dumps(config()))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return tmp_path


def kept(context: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    document = json.loads(kubeconfig.alone(context))
    ((cluster,), (user,)) = document["clusters"], document["users"]
    ((chosen,), current) = document["contexts"], document["current-context"]
    assert chosen == {
        "name": current,
        "context": {"cluster": cluster["name"], "user": user["name"]},
    }
    return cluster["cluster"], user["user"]


def test_files_are_taken_into_it() -> None:
    cluster, user = kept()
    assert cluster == {
        "server": "https://a.example:6443",
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
    }
    assert user == {"token": "t0ken"}


def test_the_context_may_be_another_one() -> None:
    assert kept("other")[0] == {"server": "https://b.example"}
    assert kubeconfig.server("other") == "https://b.example"
    assert kubeconfig.server("") == "https://a.example:6443"


def test_names_make_no_difference(files: Path) -> None:
    """Symptom otherwise: two people change the stack's provider in turn."""
    before = kubeconfig.alone("")
    text = json.dumps(config()).replace('"me"', '"you"').replace('"mine"', '"yours"')
    (files / "config").write_text(text)
    assert kubeconfig.alone("") == before


def test_a_command_and_a_token_file_are_found_from_anywhere(files: Path) -> None:
    user = {"tokenFile": "token", "exec": {"command": "bin/login", "args": ["x"]}}
    (files / "config").write_text(json.dumps(config(user=user)))
    assert kept()[1] == {
        "tokenFile": str(files / "token"),
        "exec": {"command": str(files / "bin" / "login"), "args": ["x"]},
    }
    (files / "config").write_text(json.dumps(config(user={"exec": {"command": "aws"}})))
    assert kept()[1] == {"exec": {"command": "aws"}}


def test_of_several_files_the_first_that_has_it_wins(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {"users": [{"name": "me", "user": {"token": "first"}}]}
    (files / "first").write_text(json.dumps(first))
    monkeypatch.setenv("KUBECONFIG", f"{files / 'none'}:{files / 'first'}:{files / 'config'}")
    assert kept()[1] == {"token": "first"}


def test_in_a_pod_it_is_the_pods_own(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(files / "none"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(kubeconfig, "_POD_FILES", files)
    cluster, user = kept()
    assert cluster["server"] == "https://[fd00::1]:443"
    assert user == {"tokenFile": str(files / "token")}


def test_in_a_pod_a_list_of_files_counts(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBECONFIG", f"{files / 'config'}:{files / 'none'}")
    assert not kubeconfig.is_of_the_pod()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no kubeconfig at"),
        ("{", "can't be read"),
        (json.dumps(config(cluster={"certificate-authority": "gone"})), "gone', which can't be"),
        (json.dumps({"contexts": []}), "has no context ''"),
    ],
)
def test_what_can_not_be_used_is_told(files: Path, content: str | None, problem: str) -> None:
    (files / "config").unlink()
    if content is not None:
        (files / "config").write_text(content)
    with pytest.raises(pulumi.RunError, match=f"{problem}.* Set KUBECONFIG to a kubeconfig"):
        kubeconfig.alone("")

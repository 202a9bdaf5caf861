"""The volume of the in-stack store grows, where that can be.

On a real cluster: tests/cluster/with_own_stacks/test_life_of_a_stack.py.
"""

from typing import Any

import pulumi
import pytest
from pulumi.output import Unknown

from infra.cluster import api
from infra.resources import volume_size
from infra.resources.volume_size import _VolumeSizeProvider

provider = _VolumeSizeProvider()
PATH = "/api/v1/namespaces/team/persistentvolumeclaims/object-store"


@pytest.fixture
def claim(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    one: dict[str, Any] = {
        "spec": {"resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "disk"},
        "status": {"capacity": {"storage": "10Gi"}},
    }

    def patch(_: Any, path: str, change: dict[str, Any]) -> None:
        assert path == PATH
        one["spec"]["resources"] = change["spec"]["resources"]
        one["status"]["capacity"] = change["spec"]["resources"]["requests"]

    monkeypatch.setattr(api, "get", lambda _, path: one if path == PATH else None)
    monkeypatch.setattr(api, "patch", patch)
    return one


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(volume_size, "tell", lambda line, **_: lines.append(line))
    return lines


def props(size: str = "10Gi", claim: str = "object-store") -> dict[str, Any]:
    return {"cluster": {}, "namespace": "team", "claim": claim, "size": size}


def test_what_has_its_size_is_left_alone(
    claim: dict[str, Any], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "patch", None)
    assert provider.create(props()).outs == props()
    provider.create(props("10240Mi"))
    provider.create(props("20Gi", claim="none"))
    assert told == []


def test_it_grows_in_place(claim: dict[str, Any], told: list[str]) -> None:
    diff = provider.diff("object-store", props(), props("20Gi"))
    assert (diff.changes, diff.replaces) == (True, [])
    assert provider.update("object-store", props(), props("20Gi")).outs == props("20Gi")
    assert claim["spec"]["resources"] == {"requests": {"storage": "20Gi"}}
    assert told == ["The volume of the object store has 20Gi now."]


def test_no_volume_shrinks(claim: dict[str, Any]) -> None:
    with pytest.raises(pulumi.RunError, match="no volume shrinks.* dlstack:storageSize 10Gi'"):
        provider.update("object-store", props(), props("5Gi"))
    # Symptom: a preview said "1 to update", and only the `up` refused.
    with pytest.raises(pulumi.RunError, match="no volume shrinks.* dlstack:storageSize 10Gi'"):
        provider.diff("object-store", props(), props("5Gi"))
    # One that is made anew, in another namespace or after its loss, may be smaller.
    gone = props("5Gi", claim="none")
    assert provider.diff("object-store", props(), gone).changes
    moved = props("5Gi") | {"namespace": Unknown()}
    assert provider.diff("object-store", props(), moved).changes
    assert provider.diff("object-store", gone | {"size": "10Gi"}, gone).changes
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"


def test_why_it_can_not_grow_is_told(
    claim: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise api.Forbidden("only dynamically provisioned pvc can be resized.")

    monkeypatch.setattr(api, "patch", refused)
    with pytest.raises(pulumi.RunError) as raised:
        provider.update("object-store", props(), props("20Gi"))
    for words in (
        "stays as it is, with 10Gi, and nothing of it is lost",
        "Its StorageClass 'disk' has to have allowVolumeExpansion: true",
        "only dynamically provisioned pvc can be resized",
        "set dlstack:storageSize back to 10Gi",
    ):
        assert words in str(raised.value)


def test_one_that_grows_later_fails_no_up(
    claim: dict[str, Any], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_size, "_GROWN_SECONDS", 0.0)
    monkeypatch.setattr(volume_size, "_ASK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(api, "patch", lambda *_: None)
    claim["status"]["conditions"] = [{"type": "FileSystemResizePending", "message": "pod restarts"}]
    provider.update("object-store", props(), props("20Gi"))
    assert told[-1].startswith("The volume of the object store has 10Gi still; 20Gi are asked for")
    assert "(pod restarts)" in told[-1]

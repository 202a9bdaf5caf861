"""The dynamic provider of packages, against a small HTTP server in place of the cluster's API."""

import base64
import copy
import io
import zipfile
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.resources import package
from infra.resources.package import _PackageProvider
from infra.run import packages
from tests.infra.conftest import ANY_CLUSTER, KubeApi

CONFIG_MAPS = "/api/v1/namespaces/dlstack-dev/configmaps"
Props = dict[str, Any]
provider = _PackageProvider()


@pytest.fixture
def props(project: Path, kube_api: KubeApi) -> Props:
    """A package that was never made, and a cluster with the namespace for it."""
    kube_api[CONFIG_MAPS] = (200, {"items": []})
    return {
        "package": "training",
        "files": {f"training/{path}": sha for path, sha in packages.read("training").items()},
        "cluster": ANY_CLUSTER,
        "namespace": "dlstack-dev",
        "config_map": "training-0a1b2c",
        "labels": {"app.kubernetes.io/component": "training"},
    }


def made(props: Props) -> tuple[str, Props]:
    """Make the package; return id and outputs."""
    result = provider.create(props)
    assert result.outs is not None
    return result.id, result.outs


def test_is_made_read_and_deleted(props: Props, kube_api: KubeApi) -> None:
    id_, outs = made(props)
    path = f"{CONFIG_MAPS}/{outs['config_map']}"
    assert id_ == f"dlstack-dev/{outs['config_map']}"
    assert outs == props
    config_map = kube_api[path][1]
    assert config_map["metadata"]["labels"] == props["labels"]
    assert config_map["immutable"] is True
    assert list(config_map["binaryData"]) == ["training.zip"]
    content = base64.b64decode(config_map["binaryData"]["training.zip"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "training/__init__.py" in archive.namelist()
    assert provider.read(id_, outs).id == id_
    assert provider.read(id_, outs).outs == outs
    provider.delete(id_, outs)
    assert path not in kube_api
    assert provider.read(id_, outs).id == ""
    provider.delete(id_, outs)


def test_that_is_gone_with_its_namespace_is_deleted_already(
    props: Props, kube_api: KubeApi
) -> None:
    id_, outs = made(props)
    kube_api.clear()
    assert provider.read(id_, outs).id == ""
    provider.delete(id_, outs)


def test_that_was_made_already_is_adopted(props: Props, kube_api: KubeApi) -> None:
    """Symptom otherwise: an `up` that was killed before it noted it down leaves it for ever."""
    assert made(props) == made(props)
    assert len(kube_api) == 2


def test_whose_name_something_else_has_is_put_in_its_place(props: Props, kube_api: KubeApi) -> None:
    path = f"{CONFIG_MAPS}/{props['config_map']}"
    kube_api[path] = (200, {"data": {}})
    made(props)
    assert kube_api[path][1]["immutable"] is True


def test_the_content_is_not_in_the_state(props: Props) -> None:
    _, outs = made(props)
    assert set(outs) == set(props)


@pytest.mark.parametrize("key", ["namespace", "config_map"])
def test_other_files_are_another_config_map(props: Props, key: str) -> None:
    result = provider.diff("id", props, props | {key: "other"})
    assert (result.changes, result.replaces) == (True, [key])
    # Pods run on with the one before until the next one is there.
    assert not result.delete_before_replace


def test_its_name_says_what_is_in_it() -> None:
    names = {
        package._name("training", {"a.py": "0"}),
        package._name("training", {"a.py": "1"}),
        package._name("training", {"b.py": "0"}),
        package._name("serving", {"a.py": "0"}),
    }
    assert len(names) == 4
    assert package._name("training", {"a.py": "0", "b.py": "1"}) == package._name(
        "training", {"b.py": "1", "a.py": "0"}
    )


def test_other_labels_and_another_way_to_the_cluster_change_it_in_place(
    props: Props, kube_api: KubeApi
) -> None:
    id_, outs = made(props)
    news = props | {"labels": {"a": "b"}, "cluster": ANY_CLUSTER | {"context": "up"}}
    result = provider.diff(id_, outs, news)
    assert (result.changes, result.replaces) == (True, [])
    assert provider.update(id_, outs, news).outs == news
    assert kube_api[f"{CONFIG_MAPS}/{props['config_map']}"][1]["metadata"]["labels"]["a"] == "b"
    # A tunnel to it, for one.
    news = outs | {"cluster": ANY_CLUSTER | {"server": "https://127.0.0.1:7443"}}
    assert provider.diff(id_, outs, news).changes is False


def test_one_with_a_name_of_its_own_is_changed_in_place(
    props: Props, kube_api: KubeApi, project: Path
) -> None:
    """Who mounts it by this name, such as a training Job, stays the same."""
    props |= {"config_map": "model-check", "beside": {"model-check.json": "{}"}}
    id_, olds = made(props)
    path = f"{CONFIG_MAPS}/model-check"
    before = copy.deepcopy(kube_api[path][1])
    assert "immutable" not in before
    assert before["data"] == {"model-check.json": "{}"}
    (project / "training" / "agent" / "run.py").write_text("changed = True\n")
    files = {f"training/{path}": sha for path, sha in packages.read("training").items()}
    news = {**props, "files": files, "beside": {"model-check.json": "[]"}}
    found = provider.diff(id_, olds, news)
    assert (found.changes, found.replaces) == (True, [])
    assert provider.update(id_, olds, news).outs == news
    after = kube_api[path][1]
    assert after["data"] == {"model-check.json": "[]"}
    assert after["binaryData"] != before["binaryData"]


def test_nothing_changed_is_no_change(props: Props) -> None:
    assert provider.diff("id", props, props).changes is False


def test_a_namespace_that_a_preview_does_not_know_yet_is_no_change(props: Props) -> None:
    news = props | {"namespace": pulumi.output.Unknown()}
    assert provider.diff("id", props, news).changes is False
    assert provider.check({}, news).failures == []


def test_files_that_differ_from_those_of_the_program_are_not_shipped(
    props: Props, project: Path, kube_api: KubeApi
) -> None:
    (project / "training" / "__init__.py").write_text("print('later')")
    before = dict(kube_api)
    with pytest.raises(pulumi.RunError, match="was changed while Pulumi ran"):
        provider.create(props)
    assert kube_api == before


def test_without_its_namespace_says_what_to_do(props: Props, kube_api: KubeApi) -> None:
    del kube_api[CONFIG_MAPS]
    with pytest.raises(pulumi.RunError, match=f"no '{CONFIG_MAPS}'.* Run 'pulumi refresh'"):
        provider.create(props)


def test_a_cluster_that_is_down_has_not_lost_it(props: Props) -> None:
    """Symptom otherwise: `pulumi refresh` empties the state."""
    id_, outs = made(props)
    for call in (provider.read, provider.delete):
        with pytest.raises(pulumi.RunError, match="No Kubernetes answers"):
            call(id_, outs | {"cluster": ANY_CLUSTER | {"context": "down"}})

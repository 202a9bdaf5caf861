"""`make up` on a cluster of kind, k3d or minikube: the image is built here and loaded by the tool.

The programs are scripts that write down how they are called. That the real ones do what they
document is not tried here.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local.brought import images
from local.home import REPOSITORY
from tests.local import fake_pulumi
from tests.local.brought.cluster_of_a_tool import LISTS, Programs, kubeconfig, node, serving

LOADS = {
    "kind": ["load", "image-archive", "ARCHIVE", "--name", "dev"],
    "k3d": ["image", "import", "ARCHIVE", "--cluster", "dev"],
    "minikube": ["image", "load", "ARCHIVE", "--profile", "dev"],
}
ENTRIES = {"kind": "kind-dev", "k3d": "k3d-dev", "minikube": "dev"}
SAVES = {
    "docker": ["save", "--output", "ARCHIVE", images.name()],
    "podman": ["save", "--format", "docker-archive", "--output", "ARCHIVE", images.name()],
    "buildah": ["push", images.name(), f"docker-archive:ARCHIVE:{images.name()}"],
}


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path / "programs")


@pytest.fixture
def up(tmp_path, programs):
    """Runs `python -m local up` in a shell with these programs and this kubeconfig only."""
    pulumi = tmp_path / "pulumi"
    fake_pulumi.install(pulumi)

    def run(document, **environment):
        (tmp_path / "config").write_text(yaml.safe_dump(document))
        return subprocess.run(
            [sys.executable, "-m", "local", "up"],
            cwd=REPOSITORY,
            env={
                "PATH": f"{programs.folder}{os.pathsep}{pulumi}",
                "HOME": str(tmp_path),
                "DLSTACK_HOME": str(tmp_path / "home"),
                "KUBECONFIG": str(tmp_path / "config"),
                **environment,
            },
            capture_output=True,
            text=True,
        )

    return run


def archive(tmp_path: Path) -> str:
    return str(tmp_path / "home" / "cache" / "image-for-tool.tar")


@pytest.mark.parametrize("tool", LISTS)
def test_the_image_is_built_and_loaded_by_the_tool_of_the_cluster(tmp_path, programs, up, tool):
    programs.add(tool)
    programs.add("docker")
    with serving(tmp_path, [node()]) as server:
        done = up(kubeconfig(tmp_path, server, ENTRIES[tool]))
    assert done.returncode == 0, done.stderr
    loaded = [tool, *(archive(tmp_path) if w == "ARCHIVE" else w for w in LOADS[tool])]
    assert programs.calls()[-1] == loaded
    assert not Path(archive(tmp_path)).exists()


@pytest.mark.parametrize("builder", SAVES)
def test_whichever_builder_is_there_builds_by_the_same_recipe(tmp_path, programs, up, builder):
    programs.add("kind")
    programs.add(builder)
    with serving(tmp_path, [node()]) as server:
        done = up(kubeconfig(tmp_path, server, "kind-dev"))
    assert done.returncode == 0, done.stderr
    built, saved = [words for words in programs.calls() if words[0] == builder][1:]
    folder = REPOSITORY / "local" / "build" / "image"
    assert built[-5:] == [
        "--file",
        str(folder / "Containerfile"),
        "--tag",
        images.name(),
        str(REPOSITORY),
    ]
    assert saved[1:] == [word.replace("ARCHIVE", archive(tmp_path)) for word in SAVES[builder]]


def test_a_cluster_that_has_the_image_on_all_nodes_is_left_alone(tmp_path, programs, up):
    has = node(status={"images": [{"names": [images.name()]}]})
    cordoned = node("drained", spec={"unschedulable": True})
    with serving(tmp_path, [has, cordoned]) as server:
        done = up(kubeconfig(tmp_path, server, "kind-dev"))
    assert done.returncode == 0, done.stderr
    assert f"the cluster 'dev' of kind has {images.name()}" in done.stderr
    assert not (programs.folder / "calls").exists()


def test_one_node_without_the_image_gets_it(tmp_path, programs, up):
    programs.add("kind")
    programs.add("docker")
    has = node(status={"images": [{"names": [images.name()]}]})
    with serving(tmp_path, [has, node("dev-worker")]) as server:
        done = up(kubeconfig(tmp_path, server, "kind-dev"))
    assert done.returncode == 0, done.stderr
    assert programs.calls()[-1][:3] == ["kind", "load", "image-archive"]


@pytest.mark.parametrize(
    ("made", "tool"),
    [
        (node(), "kind"),
        (node(spec={"providerID": "k3s://k3d-dev-server-0"}), "k3d"),
        (
            node(spec={"providerID": ""}, metadata={"labels": {"minikube.k8s.io/name": "dev"}}),
            "minikube",
        ),
    ],
)
def test_the_nodes_tell_what_a_kubeconfig_with_other_names_does_not(
    tmp_path, programs, up, made, tool
):
    programs.add(tool)
    programs.add("docker")
    with serving(tmp_path, [made]) as server:
        done = up(kubeconfig(tmp_path, server, "renamed"))
    assert done.returncode == 0, done.stderr
    assert programs.calls()[-1][0] == tool


def test_an_image_of_ones_own_wins(tmp_path, programs, up):
    done = up(kubeconfig(tmp_path, "https://127.0.0.1:1", "kind-dev"), RUNTIME_IMAGE="mine:1")
    assert done.returncode == 0, done.stderr
    assert not (programs.folder / "calls").exists()


def test_one_context_of_the_default_kubeconfig_can_be_named(tmp_path, programs, up):
    """Without KUBECONFIG nobody's current context is taken by accident."""
    programs.add("kind")
    programs.add("docker")
    with serving(tmp_path, [node()]) as server:
        document = kubeconfig(tmp_path, server, "kind-dev")
        (tmp_path / ".kube").mkdir()
        (tmp_path / ".kube" / "config").write_text(
            yaml.safe_dump({**document, "current-context": "production"})
        )
        done = up({}, KUBECONFIG="", DLSTACK_CONTEXT="kind-dev")
    assert done.returncode == 0, done.stderr
    assert f"KUBECONFIG={tmp_path}/.kube/config, context 'kind-dev'" in done.stderr
    assert programs.calls()[-1][0] == "kind"


class TestWhatIsInTheWayIsSaidInASentence:
    @pytest.fixture
    def said(self, tmp_path, programs, up):
        def say(entry="kind-dev", **environment):
            with serving(tmp_path, [node()]) as server:
                done = up(kubeconfig(tmp_path, server, entry), **environment)
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            return done.stderr[done.stderr.index("error: ") :].strip()

        return say

    def test_the_tool_is_not_there(self, said):
        assert (
            said() == "error: the cluster 'dev' of kind gets its image by `kind`, which is not on "
            "PATH. Put it there (https://kind.sigs.k8s.io), or set RUNTIME_IMAGE to the name of an "
            "image that the cluster can pull."
        )

    def test_the_tool_knows_of_no_such_cluster(self, programs, said):
        programs.add("kind", get=(0, "other", ""))
        assert "which `kind get clusters` does not list (it lists: other)" in said()

    def test_the_tool_fails(self, programs, said):
        programs.add("kind", get=(1, "Cannot connect to the Docker daemon", ""))
        assert "`kind get clusters` failed: Cannot connect to the Docker daemon" in said()

    def test_nothing_builds_images(self, programs, said):
        programs.add("kind")
        programs.add("docker", version=(1, "permission denied", ""))
        assert (
            "nothing here builds images (docker: permission denied; podman is not on PATH; "
            "buildah is not on PATH)" in said()
        )

    def test_the_build_fails(self, programs, said):
        programs.add("kind")
        programs.add("docker", build=(1, "the recipe has no line FROM", ""))
        assert "the recipe has no line FROM" in said()

    def test_the_disk_is_full_for_the_build(self, programs, said):
        programs.add("kind")
        programs.add("docker", build=(1, "no space left on device", ""))
        assert re.search(r"the disk of .* is full: .* Free some", said())

    def test_the_cluster_does_not_run(self, tmp_path, up):
        done = up(kubeconfig(tmp_path, "https://127.0.0.1:1", "k3d-dev"))
        assert done.returncode == 1
        assert "the cluster 'dev' of k3d does not answer at https://127.0.0.1:1" in done.stderr
        assert "Start it: `k3d cluster start dev`." in done.stderr

    def test_something_else_made_the_cluster(self, tmp_path, up):
        other = node(spec={"providerID": "aws:///eu-central-1a/i-0"})
        with serving(tmp_path, [other]) as server:
            done = up(kubeconfig(tmp_path, server, "ours"))
        assert "that neither kind nor k3d nor minikube made, and no image is set" in done.stderr
        assert "set RUNTIME_IMAGE to its name" in done.stderr

"""Pulumi's Go modules without what takes half of their compile time and nobody here uses.

Left out of the CLI: back ends and secrets providers of Azure and Google Cloud, and `pulumi logs` of
AWS and Google Cloud. Left out of the Kubernetes plugin: its components for charts, YAML files and
Kustomize (`helm.sh/v4:Chart`, `yaml/v2`, `kustomize/v2`), which bring a whole Go SDK with them. The
official releases have all of it.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..console import LocalError

CLI = "github.com/pulumi/pulumi/pkg/v3"
PLUGIN = "github.com/pulumi/pulumi-kubernetes/provider/v4"


@dataclass(frozen=True)
class Cut:
    """A piece that a source file loses."""

    module: str
    file: str
    pattern: str
    """Regular expression, over several lines; empty: the whole file."""
    left: str = ""
    """What stands in its place."""


def _import(module: str, file: str, *packages: str) -> tuple[Cut, ...]:
    return tuple(
        Cut(module, file, rf'^\t(\w+ )?"{re.escape(package)}"[^\n]*\n') for package in packages
    )


CUTS = (
    *_import(
        CLI,
        "backend/diy/backend.go",
        "gocloud.dev/blob/azureblob",
        "gocloud.dev/blob/gcsblob",
        "github.com/pulumi/pulumi/pkg/v3/authhelpers",
    ),
    Cut(CLI, "backend/diy/backend.go", r"^\tif p\.Scheme == gcsblob\.Scheme \{.*?^\t\}\n"),
    *_import(
        CLI,
        "secrets/cloud/manager.go",
        "gocloud.dev/secrets/azurekeyvault",
        "gocloud.dev/secrets/gcpkms",
        "google.golang.org/api/cloudkms/v1",
        "github.com/pulumi/pulumi/pkg/v3/authhelpers",
    ),
    Cut(CLI, "secrets/cloud/manager.go", r"^\tcase gcpkms\.Scheme:.*?^\tdefault:", "\tdefault:"),
    Cut(CLI, "operations/resources.go", r'^\tcase "aws":.*?^\tdefault:', "\tdefault:"),
    Cut(CLI, "operations/operations_aws.go", ""),
    Cut(CLI, "operations/operations_gcp.go", ""),
    *_import(
        PLUGIN,
        "pkg/provider/provider_construct.go",
        "github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider/helm/v4",
        "github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider/kustomize/v2",
        "github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider/yaml/v2",
    ),
    Cut(
        PLUGIN,
        "pkg/provider/provider_construct.go",
        r'(^\t"kubernetes:[^\n]*\.New\w+Provider,\n)+',
    ),
    *_import(
        PLUGIN,
        "pkg/helm/tool.go",
        "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/helm/v4",
    ),
    Cut(PLUGIN, "pkg/helm/tool.go", r"^func ApplyRepositoryOpts\(.*?^\}\n"),
)


def module_file(folder: Path, module: Path, sources: Mapping[str, Path]) -> Path:
    """Make trimmed copies of Go modules, and a go.mod that has them in the place of the originals.

    Args:
        folder: that gets them; it is made.
        module: the folder of the go.mod and go.sum that pin the originals.
        sources: module path -> folder of its sources, of all modules that CUTS names.

    Raises:
        LocalError: the sources are not those that the cuts were made for.
    """
    folder.mkdir(parents=True)
    text = (module / "go.mod").read_text()
    for name, source in sources.items():
        copy = folder / name.replace("/", "-")
        # Tests are a third of it.
        ignored = shutil.ignore_patterns("*_test.go", "testdata")
        shutil.copytree(source, copy, ignore=ignored, copy_function=shutil.copyfile)
        for cut in CUTS:
            if cut.module == name:
                _apply(cut, copy / cut.file)
        text += f"\nreplace {name} => {copy}\n"
    (folder / "go.mod").write_text(text)
    shutil.copyfile(module / "go.sum", folder / "go.sum")
    return folder / "go.mod"


def _apply(cut: Cut, file: Path) -> None:
    if not cut.pattern:
        file.unlink()
        return
    left, found = re.subn(cut.pattern, lambda _: cut.left, file.read_text(), flags=re.M | re.S)
    if not found:
        raise LocalError(
            f"{cut.module} has no '{cut.pattern}' in {cut.file}.",
            "After another version was pinned, adapt `CUTS` in local/build/trimmed.py.",
        )
    file.write_text(left)

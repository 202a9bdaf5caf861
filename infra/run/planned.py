"""The training run that the settings ask for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from store.urls import is_s3

from ..settings.settings import Settings
from . import checksums, data_set, git, packages
from .run_hash import digest, run_hash


@dataclass(frozen=True)
class PlannedRun:
    """What the next training run is made of."""

    code: Mapping[str, str]
    """Path -> SHA-256 of the code folder."""
    data: Mapping[str, str]
    """Path -> checksum of the data set."""
    library: Mapping[str, str]
    """Path -> SHA-256 of the package `training`, which runs the code."""
    hash: str
    provenance: Mapping[str, str | int]
    """What the model's manifest says of it (docs/contracts.md)."""

    @classmethod
    def of(cls, settings: Settings) -> "PlannedRun":
        """Read code, data and library."""
        code = checksums.code(settings.code_dir, "dlstack:codeDir")
        if settings.boot_file not in code:
            raise pulumi.RunError(
                f"dlstack:bootFile '{settings.boot_file}' is left out of what is sent. Take it "
                f"along with a line '!{settings.boot_file}' in a .dlstackignore of dlstack:codeDir."
            )
        # Elsewhere links are links.
        if os.name == "nt" and (texts := git.links_as_files(settings.code_dir, code)):
            raise pulumi.RunError(
                f"dlstack:codeDir '{settings.code_dir}': '{texts[0]}' is a link in Git, but a text "
                "file here. Switch on links ('git config core.symlinks true' and "
                "Windows' developer mode) and check it out again, or name it in .dlstackignore."
            )
        data = _data(settings)
        library = packages.read("training")
        return cls(
            code=code,
            data=data,
            library=library,
            hash=run_hash(
                code=code,
                library=library,
                data=data,
                boot_file=settings.boot_file,
                run_parameters=settings.run_parameters,
                image=settings.image,
                node_count=settings.node_count,
            ),
            provenance={
                "boot_file": settings.boot_file,
                "code_sha256": digest(code),
                "data_sha256": digest(data),
                "image": settings.image,
                "node_count": settings.node_count,
            },
        )


def _data(settings: Settings) -> dict[str, str]:
    if not is_s3(settings.data_dir):
        return data_set.in_folder(settings.data_dir)
    # No s3:// URL without a store gets into settings.
    assert settings.store is not None
    return data_set.in_store(settings.data_dir, settings.store)

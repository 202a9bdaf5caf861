"""The training run that the settings ask for."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from store.urls import is_s3

from ..settings.settings import Settings
from . import (
    boot_file,
    checksums,
    data_set,
    executables,
    git,
    library,
    own_modules,
    packages,
    several_workers,
)
from .run_hash import VERSION, digest, image_of_training, run_hash

_SOURCE_DIGITS = 12
_SOURCE_BYTES = 16 * 1024
"""Of each part of `sources`: some 300 files. Kubernetes takes 128 KiB in one argument."""


@dataclass(frozen=True)
class PlannedRun:
    """What the next training run is made of."""

    code: Mapping[str, str]
    """Path -> SHA-256 of the code folder."""
    executables: Sequence[str]
    """Paths of those of its files that may be run as programs."""
    data: Mapping[str, str]
    """Path -> checksum of the data set."""
    library: Mapping[str, str]
    """Path -> SHA-256 of the package `training`, which runs the code."""
    reached: Mapping[str, str]
    """Path -> SHA-256 of those of its modules that count for the run (`library.reached`)."""
    hash: str
    provenance: Mapping[str, Any]
    """What the model's manifest says of it (docs/contracts.md)."""

    @classmethod
    def of(
        cls, settings: Settings, kept: Callable[[], Mapping[str, str]] | None = None
    ) -> "PlannedRun":
        """Read code, data and library.

        Args:
            settings: of the stack.
            kept: returns the checksums of the data where it is not on this machine.
        """
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
        boot_file.check(
            settings.code_dir,
            code,
            settings.boot_file,
            own_image=settings.image != settings.runtime_image,
        )
        several_workers.check(settings.code_dir, code, settings.node_count)
        package = packages.read(library.PACKAGE)
        ours = {library.PACKAGE: package, "store": packages.read("store")}
        shadowed = own_modules.shadowed(settings.code_dir, code, settings.boot_file, ours)
        data = _data(settings, kept)
        reached = (
            {} if library.PACKAGE in shadowed else library.reached(settings.code_dir, code, package)
        )
        image = image_of_training(settings.image)
        return cls(
            code=code,
            executables=executables.among(settings.code_dir, code),
            data=data,
            library=package,
            reached=reached,
            hash=run_hash(
                code=code,
                library=reached,
                data=data,
                boot_file=settings.boot_file,
                run_parameters=settings.run_parameters,
                image=image,
                node_count=settings.node_count,
                env=settings.env,
                secret_env=settings.secret_env,
            ),
            provenance={
                "boot_file": settings.boot_file,
                "code_sha256": digest(code),
                "data_sha256": digest(data),
                "library_sha256": digest(reached),
                "run_hash_version": VERSION,
                "image": image,
                "node_count": settings.node_count,
                **({"env": dict(settings.env)} if settings.env else {}),
                **({"secret_env": sorted(settings.secret_env)} if settings.secret_env else {}),
            },
        )

    @property
    def sources(self) -> dict[str, dict[str, str]]:
        """What the manifest says of single files, so that the next run can name what changed.

        `code`, `data` and `library`: path -> first digits of its checksum. One that is too long
        for a Job's command line is left out: then what changed is told without names.
        """
        found = {"code": self.code, "data": self.data, "library": self.reached}
        short = {
            # Of data in S3 it is size and ETag.
            part: {
                path: (digest(told) if "-" in told else told)[:_SOURCE_DIGITS]
                for path, told in sorted(files.items())
            }
            for part, files in found.items()
        }
        return {
            part: files
            for part, files in short.items()
            if len(json.dumps(files).encode()) <= _SOURCE_BYTES
        }


def _data(settings: Settings, kept: Callable[[], Mapping[str, str]] | None) -> Mapping[str, str]:
    if not is_s3(settings.data_dir):
        if kept is not None and not Path(settings.data_dir).exists():
            return kept()
        return data_set.in_folder(settings.data_dir)
    # No s3:// URL without a store gets into settings.
    assert settings.store is not None
    return data_set.in_store(settings.data_dir, settings.store)

"""What is promised of every dynamic provider."""

import importlib
import pkgutil

from infra import resources
from infra.resources.provider import Provider


def test_the_paths_of_providers_are_those_that_are_in_the_states_of_stacks() -> None:
    """Pulumi pickles a provider by the path of its class, and `destroy` loads it from there."""
    for module in pkgutil.iter_modules(resources.__path__):
        importlib.import_module(f"infra.resources.{module.name}")
    assert {f"{kind.__module__}.{kind.__name__}" for kind in Provider.__subclasses__()} == {
        "infra.resources.bucket._BucketProvider",
        "infra.resources.certificate._CertificateProvider",
        "infra.resources.credentials._GeneratedCredentialsProvider",
        "infra.resources.destroy_guard._DestroyGuardProvider",
        "infra.resources.folder._FolderProvider",
        "infra.resources.imported_model._ImportedModelProvider",
        "infra.resources.other_runs._OtherRunsProvider",
        "infra.resources.identity._IdentityProvider",
        "infra.resources.package._PackageProvider",
        "infra.resources.published_model._PublishedModelProvider",
        "infra.resources.retention._RetentionProvider",
        "infra.resources.run_end._RunEndProvider",
        "infra.resources.roll_out._RollOutProvider",
        "infra.resources.volume_size._VolumeSizeProvider",
    }

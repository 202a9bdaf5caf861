"""The two ways in, and what each of them takes from the environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from store.access import Access
from store.client import connect, from_environment
from store.errors import BadSettings

ROOT = Path(__file__).resolve().parents[2]
AWS = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE")


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell without any setting of AWS."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in AWS:
        monkeypatch.delenv(name, raising=False)
    connect.cache_clear()


def access(endpoint: str = "", region: str = "eu-central-1", **more: str) -> Access:
    return Access(
        endpoint=endpoint, region=region, access_key="access", secret_key="secret", **more
    )


def explicit(endpoint: str = "", region: str = "eu-central-1") -> object:
    return connect(access(endpoint, region), direct=False).s3


def test_importing_the_package_takes_nothing_of_boto3() -> None:
    """Symptom: each `up` took 0.4 s more for each dynamic provider's process."""
    modules = sorted(
        f"store.{file.stem}" for file in (ROOT / "store").glob("*.py") if file.stem != "__init__"
    )
    code = (
        f"import sys, {', '.join(modules)}\n"
        "print([name for name in sys.modules if name.startswith(('boto', 's3transfer'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_endpoint_of_the_shell_is_not_that_of_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom: with s3Region alone, LocalStack of another project got the data."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:4566")
    of_the_stack = connect(access(), direct=False)
    assert of_the_stack.endpoint == "https://s3.eu-central-1.amazonaws.com"
    assert from_environment().endpoint == "http://127.0.0.1:4566"


def test_a_profile_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a traceback of botocore."""
    monkeypatch.setenv("AWS_PROFILE", "work")
    with pytest.raises(BadSettings, match=r"profile \(work\) .* AWS_\* variables of this shell"):
        connect(access(), direct=False)
    with pytest.raises(BadSettings, match=r"profile \(work\) .*Check .* the AWS_\* variables"):
        from_environment()


def test_an_endpoint_that_is_not_a_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettings, match="at 'nonsense': Invalid endpoint: nonsense. Check dlst"):
        connect(access("nonsense"), direct=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nonsense")
    with pytest.raises(BadSettings, match="at 'nonsense': Invalid endpoint: nonsense. Check the"):
        from_environment()


def test_the_region_is_aws_region_or_what_boto3_finds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def region() -> str:
        return from_environment().s3.meta.region_name

    assert region() == "us-east-1"
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-west-1\n")
    assert region() == "eu-west-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert region() == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert region() == "eu-west-3"
    monkeypatch.setenv("AWS_REGION", "")
    assert region() == "eu-west-2"


def test_buckets_of_a_store_of_ones_own_have_no_dns_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def style(client: object) -> str:
        return client.meta.config.s3["addressing_style"]  # type: ignore[attr-defined]

    assert style(from_environment().s3) == "auto"
    assert style(explicit()) == "auto"
    assert style(explicit("http://store:8333")) == "path"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://store:8333")
    assert style(from_environment().s3) == "path"


def test_a_node_of_the_cluster_is_not_asked_for_through_a_proxy() -> None:
    reached = [
        connect(access("http://10.0.0.1:30000"), direct=direct).s3.meta.config
        for direct in (True, False)
    ]
    assert [config.proxies for config in reached] == [{}, None]


def test_a_stack_has_one_client() -> None:
    assert explicit("http://store:8333") is explicit("http://store:8333")

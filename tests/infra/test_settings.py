"""The configuration: what is refused, and with which words. Defaults are not repeated here."""

from pathlib import Path

import pulumi
import pytest

from infra import settings
from tests.infra.conftest import Configure


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("runtimeImage", None, r"dlstack:runtimeImage is not set: .*'make up' builds"),
        ("dataDir", None, r"dlstack:dataDir is not set: .*'make data' fetches MNIST"),
        ("dataDir", "nowhere", r"dlstack:dataDir 'nowhere' is not a folder\. .*'make data'"),
        ("dataDir", "s3://bucket/x", r"dataDir 's3://bucket/x' needs the store .*s3Endpoint"),
        ("codeDir", "nowhere", r"dlstack:codeDir 'nowhere' is not a folder"),
        ("bootFile", "fit.py", r"dlstack:bootFile 'fit.py' is not in the code folder 'code'"),
        ("bootFile", "../data/images.gz", r"leads out of the code folder"),
        ("flavour", "tpu", r"dlstack:flavour 'tpu' is no flavour\. Use one of: .*gpu-1"),
        ("servingFlavour", "tpu", r"dlstack:servingFlavour 'tpu' is no flavour"),
        ("nodeCount", "2", r"dlstack:nodeCount '2' is not supported yet"),
        ("nodeCount", "two", r"dlstack:nodeCount 'two' is no whole number in range\. Use 1 or"),
        ("timeout", "soon", r"dlstack:timeout 'soon' is no duration\. .*'1h30m'"),
        ("timeout", "0", r"dlstack:timeout '0' is no duration"),
        ("minAccuracy", "98", r"dlstack:minAccuracy '98' is out of range"),
        ("minAccuracy", "high", r"dlstack:minAccuracy 'high' is out of range"),
        ("modelName", "../evil", r"'\.\./evil' can't name a model"),
        ("modelVersion", "0", r"dlstack:modelVersion '0' is no whole number in range"),
        ("servingEngine", "triton", r"'triton' is unknown\. .*embedded, tensorflow-serving"),
        ("serviceType", "Ingress", r"'Ingress' is unknown\. .*NodePort, LoadBalancer"),
        ("grpcNodePort", "70000", r"dlstack:grpcNodePort '70000' is no whole .* 1 to 65535"),
        ("host", "http://here:80", r"dlstack:host 'http://here:80' is no address"),
        ("namespace", "My_Team", r"'My_Team' can't name a namespace: .*Set dlstack:namespace"),
        ("bucketPrefix", "Team", r"'Team-data' can't name a bucket: .*Set dlstack:bucketPrefix"),
        ("bucketPrefix", "x" * 60, r"can't name a bucket"),
        ("forceDestroy", "yes", r"dlstack:forceDestroy 'yes' is neither 'true' nor 'false'"),
        ("storageSize", "big", r"dlstack:storageSize 'big' is no size"),
        ("s3Endpoint", "s3.example.com", r"'s3.example.com' is no URL of an object store"),
        ("runParameters", "[]", r"dlstack:runParameters '\[\]' is no object"),
        ("runParameters", "{", r"dlstack:runParameters '\{' is no object"),
        ("runParameters", '{"a b": 1}', r"has 'a b', which is no flag name"),
        ("runParameters", '{"train_url": "x"}', r"'train_url', which dlstack sets itself"),
        ("runParameters", '{"layers": [1]}', r"'layers' with a value that is no text or number"),
    ],
)
def test_a_bad_value_is_quoted_with_what_to_do(
    configure: Configure, key: str, value: str | None, message: str
) -> None:
    with pytest.raises(pulumi.RunError, match=message):
        configure(**{key: value})
        settings.load()


@pytest.mark.parametrize(
    ("key", "hint"),
    [("modelname", "Did you mean dlstack:modelName?"), ("zzz", "Known: bootFile, ")],
)
def test_a_misspelt_key_is_no_silent_default(configure: Configure, key: str, hint: str) -> None:
    configure(**{key: "x"})
    with pytest.raises(pulumi.RunError) as caught:
        settings.load()
    assert f"'dlstack:{key}' is no configuration key. {hint}" in str(caught.value)


def test_keys_of_other_packages_are_not_ours(configure: Configure) -> None:
    configure()
    pulumi.runtime.set_config("aws:region", "eu-central-1")
    pulumi.runtime.set_config("kubernetes:context", "team")
    assert settings.load().kube_context == "team"


def test_a_second_kubeconfig_is_refused(configure: Configure) -> None:
    """The dynamic providers would ask another cluster for the credentials."""
    configure()
    pulumi.runtime.set_config("kubernetes:kubeconfig", "/elsewhere")
    with pytest.raises(pulumi.RunError, match="environment variable KUBECONFIG"):
        settings.load()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600), ("1h30m5s", 5405)]
)
def test_durations(configure: Configure, text: str, seconds: int) -> None:
    configure(timeout=text)
    assert settings.load().timeout_seconds == seconds


def test_run_parameters_are_written_as_json_writes_them(configure: Configure) -> None:
    configure(runParameters='{"epochs": 3, "rate": 0.01, "shuffle": true, "model": "cnn"}')
    assert settings.load().run_parameters == {
        "epochs": "3",
        "model": "cnn",
        "rate": "0.01",
        "shuffle": "true",
    }


class TestExternalStore:
    def test_is_shown_without_its_keys(self, configure: Configure) -> None:
        configure(s3Endpoint="https://s3.example.com", s3AccessKey="ACCESS", s3SecretKey="hunter2")
        loaded = settings.load()
        assert loaded.store is not None
        assert loaded.store.secret_key == "hunter2"
        assert "hunter2" not in repr(loaded)

    @pytest.mark.parametrize("missing", ["s3AccessKey", "s3SecretKey"])
    def test_needs_both_keys(self, configure: Configure, missing: str) -> None:
        keys = {"s3AccessKey": "ACCESS", "s3SecretKey": "hunter2"} | {missing: None}
        configure(s3Region="eu-central-1", **keys)
        with pytest.raises(pulumi.RunError, match=f"config set --secret dlstack:{missing} VALUE"):
            settings.load()

    def test_keys_without_a_store_are_refused(self, configure: Configure) -> None:
        configure(s3AccessKey="ACCESS")
        with pytest.raises(pulumi.RunError, match="no object store is configured"):
            settings.load()

    def test_may_hold_the_data_set(self, configure: Configure) -> None:
        configure(
            s3Region="eu-central-1",
            s3AccessKey="ACCESS",
            s3SecretKey="hunter2",
            dataDir="s3://datasets/mnist/",
        )
        assert settings.load().data_dir == "s3://datasets/mnist"


def test_every_known_key_is_read() -> None:
    """A key that nothing reads would be taken without a word and without effect."""
    source = Path(settings.__file__).read_text()
    body = source[: source.index("\nKEYS = (")] + source[source.index("\nclass _Config") :]
    for key in settings.KEYS:
        assert f'"{key}"' in body, key

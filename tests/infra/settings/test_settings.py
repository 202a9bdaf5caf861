"""The configuration: what is refused, and with which words. Defaults are not repeated here."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pulumi
import pytest

from infra.resources import certificate
from infra.settings import configuration
from infra.settings.settings import Settings
from tests.infra.conftest import Configure

REQUIRED = {
    "runtimeImage": "registry.example/dlstack:1",
    "dataDir": "data",
    "codeDir": "code",
    "bootFile": "train.py",
}
MADE = certificate.issue(["models.example.com"], datetime.now(UTC))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("runtimeImage", None, r"dlstack:runtimeImage is not set: .*'make up' builds"),
        ("dataDir", None, r"dlstack:dataDir is not set: .*'make data' fetches MNIST"),
        ("dataDir", "nowhere", r"dlstack:dataDir 'nowhere' is not a folder\. .*'make data'"),
        (
            "dataDir",
            "s3://bucket/x",
            r"dataDir 's3://bucket/x' lies in an object store, but none .*s3Endpoint",
        ),
        ("codeDir", "nowhere", r"dlstack:codeDir 'nowhere' is not a folder"),
        ("bootFile", "fit.py", r"dlstack:bootFile 'fit.py' is not in the code folder 'code'"),
        ("bootFile", "../data/images.gz", r"leads out of the code folder"),
        ("flavour", "tpu", r"dlstack:flavour 'tpu' is not a flavour\. Use one of: .*gpu-1"),
        ("servingFlavour", "tpu", r"dlstack:servingFlavour 'tpu' is not a flavour"),
        ("retries", "-1", r"dlstack:retries '-1' is not a whole number in range\. Use 0 or more"),
        (
            "minMetrics",
            "[]",
            r"dlstack:minMetrics '\[\]' is not an object .*minMetrics\.NAME NUMBER",
        ),
        (
            "minMetrics",
            '{"f1": "high"}',
            r"minMetrics .* has 'f1' with a value that is not a number",
        ),
        ("maxMetrics", '{"loss": true}', r"maxMetrics .* has 'loss' with a value that is not a n"),
        ("maxMetrics", '{"loss": "nan"}', r"maxMetrics .* has 'loss' with a value that is not a n"),
        ("nodeCount", "two", r"dlstack:nodeCount 'two' is not a whole number in range\. Use 1 or"),
        ("timeout", "soon", r"dlstack:timeout 'soon' is not a duration\. .*'1h30m'"),
        ("timeout", "0", r"dlstack:timeout '0' is not a duration"),
        ("minAccuracy", "98", r"dlstack:minAccuracy '98' is out of range"),
        ("minAccuracy", "high", r"dlstack:minAccuracy 'high' is out of range"),
        ("modelName", "../evil", r"'\.\./evil' can't name a model"),
        ("modelVersion", "0", r"dlstack:modelVersion '0' is not a whole number in range"),
        ("servingEngine", "triton", r"'triton' is unknown\. .*embedded, tensorflow-serving"),
        (
            "servingOpLibraries",
            "a.so",
            r"'a.so' has a path that does not begin with '/'\. Name lib",
        ),
        ("logFormat", "xml", r"dlstack:logFormat 'xml' is unknown\. Use one of: text, json"),
        ("serviceType", "Ingress", r"'Ingress' is unknown\. .*NodePort, LoadBalancer"),
        ("grpcNodePort", "70000", r"dlstack:grpcNodePort '70000' is not a whole .* 1 to 65535"),
        ("host", "http://here:80", r"dlstack:host 'http://here:80' is not an address"),
        ("namespace", "My_Team", r"'My_Team' can't name a namespace: .*Set dlstack:namespace"),
        ("stackId", "my stack", r"dlstack:stackId 'my stack' can't be an id\. .*label-columns"),
        ("bucketPrefix", "Team", r"'Team-data' can't name a bucket: .*Set dlstack:bucketPrefix"),
        ("bucketPrefix", "x" * 60, r"can't name a bucket"),
        ("forceDestroy", "yes", r"dlstack:forceDestroy 'yes' is neither 'true' nor 'false'"),
        ("storageSize", "big", r"dlstack:storageSize 'big' is not a size"),
        ("s3Endpoint", "s3.example.com", r"'s3.example.com' is not the URL of an object store"),
        ("runParameters", "[]", r"dlstack:runParameters '\[\]' is not an object"),
        ("runParameters", "{", r"dlstack:runParameters '\{' is not an object"),
        ("runParameters", '{"a b": 1}', r"has 'a b', which is not the name of a flag"),
        ("runParameters", '{"train_url": "x"}', r"'train_url', which dlstack sets itself"),
        (
            "runParameters",
            '{"layers": [1]}',
            r"'layers' with a value that is neither a text nor a number",
        ),
    ],
)
def test_a_bad_value_is_quoted_with_what_to_do(
    configure: Configure, key: str, value: str | None, message: str
) -> None:
    with pytest.raises(pulumi.RunError, match=message):
        configure(**{key: value})
        configuration.load()


@pytest.mark.parametrize(
    ("key", "hint"),
    [("modelname", "Did you mean dlstack:modelName?"), ("zzz", "Known: bootFile, ")],
)
def test_a_misspelt_key_is_no_silent_default(configure: Configure, key: str, hint: str) -> None:
    configure(**{key: "x"})
    with pytest.raises(pulumi.RunError) as caught:
        configuration.load()
    assert f"'dlstack:{key}' is not a configuration key. {hint}" in str(caught.value)


@pytest.mark.parametrize("name", ["dev.", "d" * 60])
def test_a_name_that_can_not_be_a_label_is_refused(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also where it names neither namespace nor buckets: else the API refuses it, halfway."""
    configure(namespace="ml", bucketPrefix="ml")
    monkeypatch.setattr(pulumi, "get_stack", lambda: name)
    with pytest.raises(pulumi.RunError, match=r"'dlstack-d.*can't be a label .*stack rename'\."):
        configuration.load()


def test_keys_of_other_packages_are_not_ours(configure: Configure) -> None:
    configure()
    pulumi.runtime.set_config("aws:region", "eu-central-1")
    pulumi.runtime.set_config("kubernetes:context", "team")
    assert configuration.load().kube_context == "team"


@pytest.mark.parametrize("spelling", ["train.py", "./train.py", ".//train.py"])
def test_spellings_of_one_boot_file_are_the_same_run(configure: Configure, spelling: str) -> None:
    configure(bootFile=spelling)
    assert configuration.load().boot_file == "train.py"


def test_a_second_kubeconfig_is_refused(configure: Configure) -> None:
    """The dynamic providers would ask another cluster for the credentials."""
    configure()
    pulumi.runtime.set_config("kubernetes:kubeconfig", "/elsewhere")
    with pytest.raises(pulumi.RunError, match="environment variable KUBECONFIG"):
        configuration.load()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600), ("1h30m5s", 5405)]
)
def test_durations(configure: Configure, text: str, seconds: int) -> None:
    configure(timeout=text)
    assert configuration.load().timeout_seconds == seconds


OWN_FLAVOURS = {
    "amd-1": {
        "cpu": "7500m",
        "memory": "60Gi",
        "gpus": "1",
        "gpuResource": "amd.com/gpu",
        "nodeSelector": {"pool": "amd"},
        "tolerations": [
            {"key": "team", "value": "a", "effect": "NoSchedule"},
            {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
        ],
    },
    "cpu": {"cpu": 0.5, "memory": "1Gi", "memoryLimit": "3Gi"},
}


def test_own_flavours_stand_beside_those_of_the_table_or_in_their_place(
    configure: Configure,
) -> None:
    configure(flavours=json.dumps(OWN_FLAVOURS), flavour="amd-1", servingFlavour="cpu")
    loaded = configuration.load()
    assert loaded.flavour.requests == {"amd.com/gpu": "1", "cpu": "7500m", "memory": "61440Mi"}
    assert loaded.flavour.node_selector == {"pool": "amd"}
    assert [one.key for one in loaded.flavour.tolerations] == ["amd.com/gpu", "team", "spot"]
    assert str(loaded.flavour) == "'amd-1' (7.5 cores, 60 GiB, 1 GPU amd.com/gpu)"
    assert loaded.serving_flavour.requests == {"cpu": "500m", "memory": "1024Mi"}
    assert loaded.serving_flavour.limits == {"memory": "3072Mi"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("big", r"has 'x' with a value that is not an object\. Write it like"),
        ({"cpu": 1}, r"has 'x' without 'memory'\."),
        ({"memory": "1Gi"}, r"has 'x' without 'cpu'\."),
        (
            {"cpu": 1, "memory": "lots"},
            r"with memory 'lots', which is not a quantity\. Write it like",
        ),
        ({"cpu": 1, "memory": 64}, r"with memory '64', which is too little\. .*unit, as '64Gi'"),
        ({"cpu": 0, "memory": "1Gi"}, r"with cpu '0'\. Write a number of cores"),
        ({"cpu": 1, "memory": "2Gi", "memoryLimit": "1Gi"}, r"with a memoryLimit below its memory"),
        ({"gpus": "two"}, r"with gpus 'two'\. Write a whole number"),
        ({"gpus": 1, "gpuResource": "gpu"}, r"with gpuResource 'gpu'\. Name it like 'nvidia.com/g"),
        ({"gpuResource": "amd.com/gpu"}, r"with a gpuResource, but without gpus"),
        ({"gpu": 1}, r"with the unknown key 'gpu'\. Use: cpu, memory, "),
        ({"nodeSelector": "a=b"}, r"with a nodeSelector that is not an object"),
        (
            {"nodeSelector": {"gpu": True}},
            r"with a nodeSelector whose 'gpu' is not a text\. .* in quotes",
        ),
        ({"tolerations": {"key": "a"}}, r"with tolerations that are not a list of objects"),
        (
            {"tolerations": [{"keys": "a"}]},
            r"with the unknown key 'keys' in a toleration\. Use: key, ",
        ),
        ({"tolerations": [{"key": 1}]}, r"with a toleration whose 'key' is not a text"),
        (
            {"tolerations": [{"key": "a", "operator": "In"}]},
            r"the operator 'In' in a toleration\. Use Equal or",
        ),
        ({"tolerations": [{"value": "a"}]}, r"that has no key\. Name one"),
        (
            {"tolerations": [{"key": "a", "effect": "Never"}]},
            r"effect 'Never' in a toleration\. Use NoSchedule",
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            r"that has a value and the operator Exists",
        ),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 5}]}, r"with the effect NoExecute"),
    ],
)
def test_a_wrong_flavour_is_named_with_what_to_do(
    configure: Configure, fields: object, message: str
) -> None:
    given = fields
    if isinstance(fields, dict) and not {"cpu", "memory"} & fields.keys():
        given = {"cpu": 1, "memory": "1Gi", **fields}
    configure(flavours=json.dumps({"x": given}))
    with pytest.raises(pulumi.RunError, match=message) as caught:
        configuration.load()
    assert str(caught.value).startswith("dlstack:flavours has 'x' with")


def test_bars_are_numbers_however_they_are_written(configure: Configure) -> None:
    configure(minMetrics='{"f1": "0.8", "recall": 1}', maxMetrics='{"loss": 1e-3}')
    loaded = configuration.load()
    assert loaded.min_metrics == {"f1": 0.8, "recall": 1.0}
    assert loaded.max_metrics == {"loss": 0.001}


def test_run_parameters_are_written_as_json_writes_them(configure: Configure) -> None:
    configure(runParameters='{"epochs": 3, "rate": 0.01, "shuffle": true, "model": "cnn"}')
    assert configuration.load().run_parameters == {
        "epochs": "3",
        "model": "cnn",
        "rate": "0.01",
        "shuffle": "true",
    }


class TestExternalStore:
    def test_is_shown_without_its_keys(self, configure: Configure) -> None:
        configure(s3Endpoint="https://s3.example.com", s3AccessKey="ACCESS", s3SecretKey="hunter2")
        loaded = configuration.load()
        assert loaded.store is not None
        assert loaded.store.secret_key == "hunter2"
        assert "hunter2" not in repr(loaded)

    @pytest.mark.parametrize("key", ["s3SecretKey", "tlsKey", "token"])
    def test_a_secret_in_plain_text_is_refused(self, configure: Configure, key: str):
        """It would be so in the state, too."""
        configure(**STORE, tls="true", **({} if key == "s3SecretKey" else {key: "x" * 24}))
        others = {"dlstack:s3SecretKey", "dlstack:tlsKey", "dlstack:token"} - {f"dlstack:{key}"}
        values = dict(pulumi.runtime.config.CONFIG.get())
        pulumi.runtime.set_all_config(values, list(others))
        with pytest.raises(pulumi.RunError, match=f"dlstack:{key} is not encrypted .* --secret"):
            configuration.load()

    @pytest.mark.parametrize("missing", ["s3AccessKey", "s3SecretKey"])
    def test_needs_both_keys(self, configure: Configure, missing: str) -> None:
        keys = {"s3AccessKey": "ACCESS", "s3SecretKey": "hunter2"} | {missing: None}
        configure(s3Region="eu-central-1", **keys)
        with pytest.raises(pulumi.RunError, match=f"config set --secret dlstack:{missing} VALUE"):
            configuration.load()

    def test_keys_without_a_store_are_refused(self, configure: Configure) -> None:
        configure(s3AccessKey="ACCESS")
        with pytest.raises(pulumi.RunError, match="no object store is configured"):
            configuration.load()

    def test_may_hold_the_data_set(self, configure: Configure) -> None:
        configure(
            s3Region="eu-central-1",
            s3AccessKey="ACCESS",
            s3SecretKey="hunter2",
            dataDir="s3://datasets/mnist/",
        )
        assert configuration.load().data_dir == "s3://datasets/mnist"


STORE = {"s3Endpoint": "https://s3.example.com", "s3AccessKey": "ACCESS", "s3SecretKey": "hunter2"}
TLS = {"tls": "true", "tlsCertificate": MADE["certificate"], "tlsKey": MADE["key"]}

REACHES: dict[str, tuple[dict[str, str], str, set[str]]] = {
    "bootFile": ({}, "other.py", {"boot_file"}),
    "bucketPrefix": ({}, "team", {"data_bucket", "output_bucket"}),
    "codeDir": ({}, "other-code", {"code_dir"}),
    "dataDir": ({}, "other-data", {"data_dir"}),
    "flavour": ({}, "cpu-2", {"flavour"}),
    "flavours": ({}, '{"cpu": {"cpu": 3, "memory": "1Gi"}}', {"flavour"}),
    "forceDestroy": ({}, "true", {"force_destroy"}),
    "grpcNodePort": ({}, "31670", {"grpc_node_port"}),
    "host": ({}, "models.example.com", {"host"}),
    "image": ({}, "registry.example/training:2", {"image"}),
    "logFormat": ({}, "json", {"log_format"}),
    "maxMetrics": ({}, '{"loss": 0.3}', {"max_metrics"}),
    "minAccuracy": ({}, "0.9", {"min_accuracy"}),
    "minMetrics": ({}, '{"f1": 0.8}', {"min_metrics"}),
    "modelName": ({}, "digits", {"model_name"}),
    "modelVersion": ({}, "2", {"model_version"}),
    "namespace": ({}, "team", {"namespace"}),
    "nodeCount": ({}, "2", {"node_count"}),
    "retries": ({}, "3", {"retries"}),
    "proxy": ({}, '{"httpsProxy": "http://proxy:3128"}', {"proxy"}),
    "runParameters": ({}, '{"epochs": 3}', {"run_parameters"}),
    "runtimeImage": ({"image": "registry.example/training:1"}, "other:2", {"runtime_image"}),
    "s3AccessKey": (STORE, "OTHER", {"store"}),
    "s3Endpoint": (STORE, "https://other.example.com", {"store"}),
    "s3Region": (STORE, "eu-central-1", {"store"}),
    "s3SecretKey": (STORE, "hunter3", {"store"}),
    "serviceType": ({}, "LoadBalancer", {"service_type"}),
    "servingBatching": ({}, "true", {"serving_batching"}),
    "servingCors": ({}, "true", {"serving_cors"}),
    "servingEngine": ({}, "tensorflow-serving", {"serving_engine"}),
    "servingFlavour": ({}, "cpu-2", {"serving_flavour"}),
    "servingOpLibraries": ({}, "/opt/a.so, /opt/b", {"serving_op_libraries"}),
    "servingReplicas": ({}, "2", {"serving_replicas"}),
    "stackId": ({}, "0b7c9f4e", {"stack_id"}),
    "storageClass": ({}, "fast", {"storage_class"}),
    "storageSize": ({}, "20Gi", {"storage_size"}),
    "timeout": ({}, "2h", {"timeout_seconds"}),
    "tls": ({}, "true", {"access"}),
    "token": ({"tls": "true"}, "0123456789abcdef", {"access"}),
}
"""Key -> the rest of the configuration, another value than there is, the settings that it changes.

All keys but the two of a certificate, neither of which can be changed alone."""


def test_libraries_with_operations_are_not_for_the_official_server(configure: Configure) -> None:
    configure(servingEngine="tensorflow-serving", servingOpLibraries="/opt/a.so")
    with pytest.raises(pulumi.RunError, match="TensorFlow Serving loads no libraries"):
        configuration.load()


@pytest.mark.parametrize("key", REACHES)
def test_every_key_reaches_its_setting(configure: Configure, project: Path, key: str) -> None:
    """A key that nothing reads would be taken without a word and without effect."""
    for file in ("code/other.py", "other-code/train.py", "other-data/images.gz"):
        (project / file).parent.mkdir(exist_ok=True)
        (project / file).touch()
    around, value, fields = REACHES[key]
    configure(**around)
    before = vars(configuration.load())
    configure(**around | {key: value})
    after = vars(configuration.load())
    assert {name for name in after if after[name] != before[name]} == fields


def test_a_certificate_and_its_key_reach_their_setting(configure: Configure) -> None:
    configure(**TLS)
    access = configuration.load().access
    assert access is not None
    assert (access.certificate, access.key) == (MADE["certificate"], MADE["key"])


def test_no_key_is_left_out() -> None:
    assert {*REACHES, "tlsCertificate", "tlsKey"} == set(configuration.KEYS)


class TestAProjectOfAnotherName:
    """Pulumi gives it the defaults of Pulumi.yaml below its own name."""

    @pytest.fixture(autouse=True)
    def project_name(self, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pulumi, "get_project", lambda: "ours")

    def load(self, **values: str) -> Settings:
        known = {f"dlstack:{key}": value for key, value in REQUIRED.items()}
        pulumi.runtime.set_all_config(known | {k.replace("__", ":"): v for k, v in values.items()})
        return configuration.load()

    def test_takes_both_namespaces_and_that_of_dlstack_before_its_own(self) -> None:
        loaded = self.load(ours__retries="2", ours__tls="false", ours__modelName="mnist")
        assert (loaded.stack, loaded.retries, loaded.model_name) == ("ours-dev", 2, "mnist")
        assert self.load(ours__modelName="mnist", dlstack__modelName="x").model_name == "x"

    def test_refuses_a_misspelt_key_and_a_secret_in_plain_text_there_as_well(self) -> None:
        with pytest.raises(pulumi.RunError, match="'ours:modelname' is not a configuration key"):
            self.load(ours__modelname="x")
        with pytest.raises(pulumi.RunError, match="ours:token is not encrypted"):
            self.load(ours__token="t", dlstack__tls="true")

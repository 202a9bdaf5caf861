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
        ("graceSeconds", "0", r"dlstack:graceSeconds '0' is not a whole number in range"),
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
        ("keepVersions", "0", r"dlstack:keepVersions '0' is not a whole number in range"),
        ("servingEngine", "triton", r"'triton' is unknown\. .*embedded, tensorflow-serving"),
        (
            "servingOpLibraries",
            "a.so",
            r"'a.so' has a path that does not begin with '/'\. Name lib",
        ),
        ("metrics", "yes", r"dlstack:metrics 'yes' is unknown\. .*auto, podMonitor, ann.*, off"),
        (
            "metricsLabels",
            '{"release": "a b"}',
            r"metricsLabels .* 'a b', which can't be a label's",
        ),
        ("dataMode", "fuse", r"dlstack:dataMode 'fuse' is unknown\. Use one of: copy, stream"),
        ("logFormat", "xml", r"dlstack:logFormat 'xml' is unknown\. Use one of: text, json"),
        ("serviceType", "Public", r"'Public' is unknown\. .*NodePort, LoadBalancer"),
        ("grpcNodePort", "70000", r"dlstack:grpcNodePort '70000' is not a whole .* 1 to 65535"),
        ("host", "http://here:80", r"dlstack:host 'http://here:80' is not an address"),
        ("namespace", "My_Team", r"'My_Team' can't name a namespace: .*Set dlstack:namespace"),
        ("stackId", "my stack", r"dlstack:stackId 'my stack' can't be an id\. .*label-columns"),
        ("bucketPrefix", "Team", r"'Team-data' can't name a bucket: .*Set dlstack:bucketPrefix"),
        ("bucketPrefix", "x" * 60, r"can't name a bucket"),
        (
            "imagePullSecrets",
            "my_secret",
            r"imagePullSecrets .* has 'my_secret', which is not a name",
        ),
        ("serviceAccount", "My", r"dlstack:serviceAccount 'My' is not a name\. Use lower-case"),
        ("queue", "gpus!", r"dlstack:queue 'gpus!' is not a name"),
        (
            "podLabels",
            '{"a b": "c"}',
            r"podLabels .* has 'a b', which can't be a key\. Write it like",
        ),
        (
            "podLabels",
            '{"team": "a b"}',
            r"has 'team' with the value 'a b', which can't be a label's",
        ),
        ("podLabels", '{"x": true}', r"has 'x' with a value that is not a text\. Put it in quotes"),
        (
            "podLabels",
            '{"app.kubernetes.io/name": "x"}',
            r"has 'app.kubernetes.io/name', which the stack sets itself",
        ),
        (
            "podLabels",
            '{"kueue.x-k8s.io/queue-name": "x"}',
            r"which belongs to the Job\. Set dlstack:queue",
        ),
        ("podAnnotations", "x", r"podAnnotations 'x' is not an object of names and values"),
        (
            "nodeSelector",
            '{"gpu": true}',
            r"nodeSelector .*comes with a nodeSelector whose 'gpu' is",
        ),
        ("tolerations", "{}", r"dlstack:tolerations '{}' is not a list\. Set one with .*\[0\].key"),
        ("tolerations", '[{"keys": 1}]', r"comes with the unknown key 'keys' in a toleration"),
        ("runAsUser", "root", r"'root' is neither a user's number above 0 nor 'assigned', for"),
        ("runAsUser", "0", r"'0' is neither a user's number above 0"),
        ("forceDestroy", "yes", r"dlstack:forceDestroy 'yes' is neither 'true' nor 'false'"),
        ("storageSize", "big", r"dlstack:storageSize 'big' is not a size"),
        ("storageSize", "20", r"'20' is not a size of 1Mi or more\. Use a number with a unit, as"),
        ("storageSize", "20k", r"'20k' is not a size of 1Mi or more"),
        ("storageSize", "99999999999m", r"'99999999999m' is not a size"),
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
    [
        ("modelname", "Did you mean dlstack:modelName?"),
        ("zzz", "Known: bootFile, "),
        ("env.LEVEL", "A part of a key needs --path: 'pulumi config set --path dlstack:env.LEVEL"),
    ],
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
            r"with memory 'lots', which is not a size of 64Mi or more\. Use a",
        ),
        (
            {"cpu": 1, "memory": 64},
            r"with memory '64', which is not a size .*with a unit, as '64Gi'",
        ),
        (
            {"cpu": 1, "memory": 64 * 2**30},
            r"with memory '68719476736', which is not a size .* with a unit",
        ),
        ({"cpu": 0, "memory": "1Gi"}, r"with cpu '0'\. Write a number of cores"),
        ({"cpu": 1, "memory": "2Gi", "memoryLimit": "1Gi"}, r"with a memoryLimit below its memory"),
        ({"gpus": "two"}, r"with gpus 'two'\. Write a whole number"),
        ({"gpus": 1, "gpuResource": "gpu"}, r"with gpuResource 'gpu'\. Name it like 'nvidia.com/g"),
        ({"gpuResource": "amd.com/gpu"}, r"with a gpuResource, but without gpus"),
        ({"gpu": 1}, r"with the unknown key 'gpu'\. Use: cpu, cpuLimit, memory, "),
        ({"cpu": 2, "memory": "1Gi", "cpuLimit": 1}, r"with a cpuLimit below its cpu"),
        ({"disk": 50}, r"with disk '50', which is not a size of 64Mi .*unit, as '64Gi'"),
        ({"cpu": "many", "memory": "1Gi"}, r"with cpu 'many'\. Write a number of cores"),
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

    @pytest.mark.parametrize(
        "key", ["s3AccessKey", "s3SessionToken", "s3Credentials", "s3AddressingStyle"]
    )
    def test_keys_without_a_store_are_refused(self, configure: Configure, key: str) -> None:
        configure(**{key: "ACCESS"})
        with pytest.raises(pulumi.RunError, match=f"{key} is set, but no object store is config"):
            configuration.load()

    def test_may_be_reached_without_keys(self, configure: Configure) -> None:
        configure(s3Region="eu-central-1", s3Credentials="environment")
        store = configuration.load().store
        assert store is not None and not store.variables
        with pytest.raises(pulumi.RunError, match="set dlstack:s3Credentials environment"):
            configure(s3Region="eu-central-1")
            configuration.load()

    @pytest.mark.parametrize("key", ["s3AccessKey", "s3SecretKey", "s3SessionToken"])
    def test_has_keys_or_none(self, configure: Configure, key: str) -> None:
        configure(s3Region="eu-central-1", s3Credentials="environment", **{key: "x"})
        with pytest.raises(pulumi.RunError, match=f"{key} is set, but dlstack:s3Credentials is 'e"):
            configuration.load()

    @pytest.mark.parametrize(
        ("keys", "problem"),
        [
            ({"s3AddressingStyle": "host"}, "'host' is unknown. Use one of: path, virtual"),
            ({"s3Credentials": "iam"}, "'iam' is unknown. Use one of: keys, environment"),
            ({"s3CaCertificate": "ca.pem"}, "s3CaCertificate can't be used: .* < ca.pem"),
            ({"s3CaCertificate": "x" * 70_000}, "it has more than 65536 bytes"),
            (
                {"s3CaCertificate": MADE["certificate"], "s3Endpoint": "http://store:9000"},
                "'http://store:9000' is not encrypted. Use https://",
            ),
        ],
    )
    def test_is_described_by_what_can_be_used(
        self, configure: Configure, keys: dict[str, str], problem: str
    ) -> None:
        configure(**STORE | keys)
        with pytest.raises(pulumi.RunError, match=problem):
            configuration.load()

    def test_may_hold_the_data_set(self, configure: Configure) -> None:
        configure(
            s3Region="eu-central-1",
            s3AccessKey="ACCESS",
            s3SecretKey="hunter2",
            dataDir="s3://datasets/mnist/",
        )
        assert configuration.load().data_dir == "s3://datasets/mnist"


KEYS = {"s3AccessKey": "ACCESS", "s3SecretKey": "hunter2"}
STORE = {"s3Endpoint": "https://s3.example.com", **KEYS}
TLS = {"tls": "true", "tlsCertificate": MADE["certificate"], "tlsKey": MADE["key"]}

BALANCER = {"serviceType": "LoadBalancer", "insecure": "true"}
INGRESS = {"serviceType": "Ingress", "host": "models.example.com", "insecure": "true"}
GATEWAY = {
    "serviceType": "Gateway",
    "host": "models.example.com",
    "grpcHost": "grpc.example.com",
    "gateway": "edge/shared/https",
    "insecure": "true",
}

REACHES: dict[str, tuple[dict[str, str], str, set[str]]] = {
    "bootFile": ({}, "other.py", {"boot_file"}),
    "bucketPrefix": ({}, "team", {"data_bucket", "output_bucket"}),
    "codeDir": ({}, "other-code", {"code_dir"}),
    "createNamespace": ({}, "false", {"creates_namespace"}),
    "dataBucket": (STORE, "acme.ml", {"data_bucket", "given_buckets"}),
    "outputBucket": (STORE, "acme-ml", {"output_bucket", "given_buckets"}),
    "dataDir": ({}, "other-data", {"data_dir"}),
    "deploy": ({}, "false", {"deploys"}),
    "flavour": ({}, "cpu-2", {"flavour"}),
    "flavours": ({}, '{"cpu": {"cpu": 3, "memory": "1Gi"}}', {"flavour"}),
    "forceDestroy": ({}, "true", {"force_destroy"}),
    "gateway": (GATEWAY, "edge/public", {"exposure"}),
    "grpcHost": (GATEWAY, "grpc.example.org", {"exposure"}),
    "grpcNodePort": ({}, "31670", {"exposure"}),
    "host": ({}, "models.example.com", {"exposure"}),
    "image": ({}, "registry.example/training:2", {"image"}),
    "imagePullSecrets": ({}, "registry, other", {"pods"}),
    "ingressAnnotations": (INGRESS, '{"example.com/a": "b"}', {"exposure"}),
    "ingressClass": (INGRESS, "nginx", {"exposure"}),
    "loadBalancerSourceRanges": (BALANCER, "192.0.2.0/24, 10.0.0.0/8", {"exposure"}),
    "dataMode": ({}, "stream", {"data_mode"}),
    "logFormat": ({}, "json", {"log_format"}),
    "maxMetrics": ({}, '{"loss": 0.3}', {"max_metrics"}),
    "maxRegression": ({}, '{"accuracy": 0.005}', {"max_decrease"}),
    "metrics": ({}, "off", {"metrics"}),
    "metricsLabels": ({}, '{"release": "prometheus"}', {"metrics_labels"}),
    "minAccuracy": ({}, "0.9", {"min_accuracy"}),
    "minMetrics": ({}, '{"f1": 0.8}', {"min_metrics"}),
    "keepVersions": ({}, "5", {"keep_versions"}),
    "model": ({}, "stack:prod/2", {"model"}),
    "modelName": ({}, "digits", {"model_name"}),
    "modelVersion": ({}, "2", {"model_version"}),
    "namespace": ({}, "team", {"namespace"}),
    "networkPolicies": ({}, "false", {"network_policies"}),
    "nodeCount": ({}, "2", {"node_count"}),
    "nodeSelector": ({}, '{"pool": "ml"}', {"pods", "flavour", "serving_flavour"}),
    "podAnnotations": ({}, '{"example.com/cost": "42 a"}', {"pods"}),
    "podLabels": ({}, '{"team": "vision"}', {"pods"}),
    "priorityClass": ({}, "low", {"pods"}),
    "queue": ({}, "gpus", {"queue"}),
    "runAsUser": ({}, "1000", {"pods", "asks_for_user"}),
    "serviceAccount": ({}, "models", {"pods"}),
    "env": ({}, '{"LOG_LEVEL": "debug", "WORKERS": 2}', {"env"}),
    "joinTimeout": ({}, "1h", {"join_seconds"}),
    "graceSeconds": ({}, "120", {"grace_seconds"}),
    "retries": ({}, "3", {"retries"}),
    "proxy": ({}, '{"httpsProxy": "http://proxy:3128"}', {"proxy"}),
    "runParameters": ({}, '{"epochs": 3}', {"run_parameters"}),
    "runtimeImage": ({"image": "registry.example/training:1"}, "other:2", {"runtime_image"}),
    "s3AccessKey": (STORE, "OTHER", {"store"}),
    "s3AddressingStyle": (STORE, "virtual", {"store"}),
    "s3CaCertificate": (STORE, MADE["certificate"], {"store"}),
    "s3Credentials": ({"s3Region": "eu-central-1"} | KEYS, "keys", set()),
    "s3SessionToken": (STORE, "a-token", {"store"}),
    "s3Endpoint": (STORE, "https://other.example.com", {"store"}),
    "s3Region": (STORE, "eu-central-1", {"store"}),
    "s3SecretKey": (STORE, "hunter3", {"store"}),
    "serviceAnnotations": ({}, '{"example.com/internal": "true"}', {"exposure"}),
    "serviceType": ({"insecure": "true"}, "LoadBalancer", {"exposure"}),
    "servingBatching": ({}, "true", {"serving_batching"}),
    "servingCors": ({}, "true", {"serving_cors"}),
    "servingEngine": ({}, "tensorflow-serving", {"serving_engine"}),
    "servingFlavour": ({}, "cpu-2", {"serving_flavour"}),
    "servingOpLibraries": ({}, "/opt/a.so, /opt/b", {"serving_op_libraries"}),
    "servingReplicas": ({}, "2", {"serving_scale"}),
    "servingSurge": ({}, "never", {"serving_surge"}),
    "drainSeconds": ({}, "300", {"drain_seconds"}),
    "loadTimeout": ({}, "1h", {"load_seconds"}),
    "pauseSeconds": ({}, "60", {"pause_seconds"}),
    "stackId": ({}, "0b7c9f4e", {"stack_id"}),
    "startTimeout": ({}, "20m", {"start_seconds", "join_seconds"}),
    "storageClass": ({}, "fast", {"storage_class"}),
    "storageSize": ({}, "20Gi", {"storage_size"}),
    "tensorboardServiceType": ({}, "NodePort", {"tensorboard_service_type"}),
    "timeout": ({}, "2h", {"timeout_seconds"}),
    "tls": ({}, "true", {"access"}),
    "tolerations": ({}, '[{"key": "ml"}]', {"pods", "flavour", "serving_flavour"}),
    "tlsSecret": (INGRESS | {"tls": "true"}, "models-tls", {"exposure"}),
    "token": ({"tls": "true"}, "0123456789abcdef", {"access"}),
}
"""Key -> the rest of the configuration, another value than there is, the settings that it changes.

All keys but the two of a certificate, neither of which can be changed alone, and `insecure`, which
changes what is refused."""


def test_libraries_with_operations_are_not_for_the_official_server(configure: Configure) -> None:
    configure(servingEngine="tensorflow-serving", servingOpLibraries="/opt/a.so")
    with pytest.raises(pulumi.RunError, match="TensorFlow Serving loads no libraries"):
        configuration.load()


@pytest.mark.parametrize(
    ("name", "less_is_better"),
    [
        *[(name, False) for name in ("accuracy", "val_F1", "top-5 accuracy", "pr/auc", "f1_score")],
        *[(name, True) for name in ("loss", "val_loss", "mean_squared_error", "RMSE", "xentropy")],
    ],
)
def test_the_name_of_a_metric_tells_which_way_is_worse(
    configure: Configure, name: str, less_is_better: bool
) -> None:
    configure(maxRegression=json.dumps({name: 0.1}))
    loaded = configuration.load()
    expected = ({}, {name: 0.1}) if less_is_better else ({name: 0.1}, {})
    assert (loaded.max_decrease, loaded.max_increase) == expected


def test_a_bar_tells_which_way_is_worse_whatever_the_name(configure: Configure) -> None:
    configure(maxRegression='{"profit": "1", "loss": 2}', minMetrics='{"profit": 0, "loss": 0}')
    loaded = configuration.load()
    assert (loaded.max_decrease, loaded.max_increase) == ({"profit": 1.0, "loss": 2.0}, {})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            '{"profit": 1}',
            "not known whether more or less of it is better. Set dlstack:minMetrics.p",
        ),
        (
            '{"accuracy": -0.1}',
            "has 'accuracy' with -0.1, which is below 0. Say by how much it may",
        ),
        ('{"accuracy": "5%"}', "has 'accuracy' with a value that is not a number"),
    ],
)
def test_a_regression_that_means_nothing_is_refused(
    configure: Configure, value: str, problem: str
) -> None:
    configure(maxRegression=value)
    with pytest.raises(pulumi.RunError, match=problem):
        configuration.load()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0", "is not a whole number in range. Use 1 or more"),
        ('{"min": 2}', "has no 'max'. Use a number, or the least"),
        ('{"min": 4, "max": 2}', "has a min of 4 above its max of 2. Swap them"),
        ('{"min": "x", "max": 2}', "has 'min' with 'x', which is not a whole number of 1 or more"),
        ('{"max": 0}', "has 'max' with 0, which"),
        ('{"max": 2, "memory": 3}', "has 'memory', which is not one of: min, max, cpu"),
        ('{"max": 2, "cpu": 5000}', "has a cpu of 5000. Use percent"),
    ],
)
def test_a_number_of_pods_that_means_nothing_is_refused(
    configure: Configure, value: str, problem: str
) -> None:
    configure(servingReplicas=value)
    with pytest.raises(pulumi.RunError, match=problem):
        configuration.load()


def test_a_version_to_serve_needs_that_something_is_served(configure: Configure) -> None:
    configure(deploy="false", modelVersion="2")
    with pytest.raises(pulumi.RunError, match="modelVersion '2' .* dlstack:deploy is false. Remov"):
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
    # The last one needs encryption: test_boot_environment.py.
    assert {*REACHES, "tlsCertificate", "tlsKey", "secretEnv", "insecure"} == set(
        configuration.KEYS
    )


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


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"dataBucket": "acme"},
            "dlstack:dataBucket 'acme' names a bucket of a store of yours, but",
        ),
        ({**STORE, "outputBucket": "Acme"}, "dlstack:outputBucket 'Acme' can't be the name of a"),
        ({**STORE, "dataBucket": "a..b"}, "dlstack:dataBucket 'a..b' can't be the name of a"),
        (
            {**STORE, "dataBucket": "acme", "outputBucket": "acme"},
            "dlstack:outputBucket 'acme' is dlstack:dataBucket, too. Name two buckets",
        ),
    ],
)
def test_buckets_that_are_there_have_to_make_sense(
    configure: Configure, keys: dict[str, str], problem: str
) -> None:
    configure(**keys)
    with pytest.raises(pulumi.RunError, match=problem):
        configuration.load()


def test_a_pinned_version_needs_no_data(configure: Configure) -> None:
    """Symptom: after a restore, where `dlstack:model` alone had been set, the pin was refused."""
    configure(dataDir=None, modelVersion="1")
    assert configuration.load().data_dir == ""
    configure(dataDir=None)
    with pytest.raises(pulumi.RunError, match="dlstack:dataDir is not set"):
        configuration.load()

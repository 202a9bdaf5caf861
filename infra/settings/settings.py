"""What the user configured: the only reader of `pulumi.Config`, the one home of every default."""

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, cast, get_args

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from ..cluster.flavour import Flavour
from ..components.access import AccessSettings
from ..resources.certificate import belong_together
from . import flavour_settings, flavours, name_rules

ServiceType = Literal["NodePort", "LoadBalancer", "ClusterIP"]
ServingEngine = Literal["embedded", "tensorflow-serving"]
LogFormat = Literal["text", "json"]

_RESERVED_PARAMETERS = ("data_url", "train_url")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_QUANTITY = re.compile(r"[1-9]\d*(Ki|Mi|Gi|Ti|k|M|G|T)?")


@dataclass(frozen=True, kw_only=True)
class ExternalStore:
    """An object store that exists already: AWS, or anything S3-compatible."""

    endpoint: str
    """URL; empty for AWS."""
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One stack's configuration, checked."""

    stack: str
    """`<project>-<stack>`: the mark on the namespace, and the default of names."""
    runtime_image: str
    """Image with Python, TensorFlow, boto3 and SeaweedFS: runs everything but the training."""
    data_dir: str
    """Local folder, or `s3://bucket/prefix` in the configured object store."""
    namespace: str
    image: str
    """Training image; the runtime image unless set."""
    code_dir: Path = Path("training/mnist")
    boot_file: str = "train_mnist.py"
    run_parameters: Mapping[str, str] = field(default_factory=dict)
    flavour: Flavour
    node_count: int = 1
    timeout_seconds: int = 3600
    """A Job that runs longer fails."""
    retries: int = 0
    """How often a Job starts anew what failed by itself."""
    min_accuracy: float | None = None
    """A model with less is not published."""
    min_metrics: Mapping[str, float] = field(default_factory=dict)
    """Metric -> the least that it may be for the model to be published."""
    max_metrics: Mapping[str, float] = field(default_factory=dict)
    """Metric -> the most that it may be."""
    model_name: str = "mnist"
    model_version: int | None = None
    """Serve this published version in place of the one that the present code and data make."""
    serving_engine: ServingEngine = "embedded"
    serving_replicas: int = 1
    serving_batching: bool = False
    """Whether requests that wait at the same time run as one."""
    log_format: LogFormat = "text"
    """Of the prediction service's pods."""
    serving_flavour: Flavour
    service_type: ServiceType = "NodePort"
    grpc_node_port: int | None = None
    """Port of the prediction service on every node; the cluster picks one unless set."""
    host: str | None = None
    """Address under which clients reach the cluster; found out unless set."""
    access: AccessSettings | None = None
    """TLS on the prediction service's ports, and a token; None: plain text for everyone."""
    store: ExternalStore | None = None
    """None: the stack runs its own."""
    bucket_prefix: str
    storage_size: str = "10Gi"
    """Size of the in-stack object store's volume, when it is made; it stays as it is later."""
    storage_class: str | None = None
    """Its class, when it is made; the cluster's default unless set."""
    force_destroy: bool = False
    """Let `pulumi destroy` delete buckets with everything in them."""
    kube_context: str = ""
    """Context of the kubeconfig; its current one unless set."""


def load() -> Settings:
    """Read the stack's configuration."""
    config = _Config(pulumi.Config("dlstack"))
    config.refuse_unknown_keys()
    kubernetes = pulumi.Config("kubernetes")
    if kubernetes.get("kubeconfig"):
        raise pulumi.RunError(
            "kubernetes:kubeconfig is set, but the object store's credentials are read through "
            "KUBECONFIG. Unset it, and name the file in the environment variable KUBECONFIG."
        )
    stack = f"{pulumi.get_project()}-{pulumi.get_stack()}"
    store = _store(config)
    data_dir = _data_dir(config, store)
    runtime_image = config.required(
        "runtimeImage", "the image built from local/build/image ('make up' builds and sets it)"
    )
    namespace = name_rules.namespace(config.text("namespace", stack))
    service_type = config.choice("serviceType", "NodePort", get_args(ServiceType))
    grpc_node_port = config.integer("grpcNodePort", low=1, high=65535)
    if grpc_node_port and service_type != "NodePort":
        config.fail("grpcNodePort", f"needs serviceType NodePort, not '{service_type}'")
    own_flavours = flavour_settings.read(
        config.objects("flavours", 'Write it like {"gpu-a": {"cpu": 8, "memory": "64Gi"}}'),
        _fail_of_flavours,
    )
    table = {**flavours.TABLE, **own_flavours}
    bucket_prefix = config.text("bucketPrefix", stack)
    for role in ("data", "output"):
        name_rules.bucket(bucket_prefix, role)
    return Settings(
        stack=stack,
        runtime_image=runtime_image,
        data_dir=data_dir,
        namespace=namespace,
        image=config.text("image", runtime_image),
        **_code(config),
        run_parameters=_run_parameters(config),
        flavour=flavours.find(config.text("flavour", "cpu"), "dlstack:flavour", table),
        node_count=config.integer("nodeCount", low=1) or Settings.node_count,
        timeout_seconds=_duration(config, "timeout", Settings.timeout_seconds),
        retries=config.integer("retries", low=0) or Settings.retries,
        min_accuracy=_fraction(config, "minAccuracy"),
        min_metrics=_metrics(config, "minMetrics"),
        max_metrics=_metrics(config, "maxMetrics"),
        model_name=name_rules.model(config.text("modelName", Settings.model_name)),
        model_version=config.integer("modelVersion", low=1),
        serving_engine=cast(
            ServingEngine,
            config.choice("servingEngine", Settings.serving_engine, get_args(ServingEngine)),
        ),
        serving_replicas=config.integer("servingReplicas", low=1) or Settings.serving_replicas,
        serving_batching=config.flag("servingBatching"),
        log_format=cast(
            LogFormat, config.choice("logFormat", Settings.log_format, get_args(LogFormat))
        ),
        serving_flavour=flavours.find(
            config.text("servingFlavour", "cpu-small"), "dlstack:servingFlavour", table
        ),
        service_type=cast(ServiceType, service_type),
        grpc_node_port=grpc_node_port,
        host=_host(config),
        access=_access(config),
        store=store,
        bucket_prefix=bucket_prefix,
        storage_size=_quantity(config, "storageSize", Settings.storage_size),
        storage_class=config.text("storageClass", "") or None,
        force_destroy=config.flag("forceDestroy"),
        kube_context=kubernetes.get("context") or "",
    )


KEYS = (
    "bootFile",
    "bucketPrefix",
    "codeDir",
    "dataDir",
    "flavour",
    "flavours",
    "forceDestroy",
    "grpcNodePort",
    "host",
    "image",
    "logFormat",
    "maxMetrics",
    "minAccuracy",
    "minMetrics",
    "modelName",
    "modelVersion",
    "namespace",
    "nodeCount",
    "retries",
    "runParameters",
    "runtimeImage",
    "s3AccessKey",
    "s3Endpoint",
    "s3Region",
    "s3SecretKey",
    "serviceType",
    "servingBatching",
    "servingEngine",
    "servingFlavour",
    "servingReplicas",
    "storageClass",
    "storageSize",
    "timeout",
    "tls",
    "tlsCertificate",
    "tlsKey",
    "token",
)
"""Every key of the namespace `dlstack`."""


class _Config:
    """`pulumi.Config` with errors that quote the value and say what to do."""

    def __init__(self, config: pulumi.Config) -> None:
        self._config = config

    def refuse_unknown_keys(self) -> None:
        """Catch misspelt keys: otherwise the default would be used without a word."""
        prefix = "dlstack:"
        for key in sorted({**get_config_env(), **CONFIG.get()}):
            name = key.removeprefix(prefix)
            if not key.startswith(prefix) or name in KEYS:
                continue
            near = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.5)
            hint = f"Did you mean dlstack:{near[0]}?" if near else f"Known: {', '.join(KEYS)}."
            raise pulumi.RunError(
                f"'{key}' is not a configuration key. {hint} "
                f"Remove it with 'pulumi config rm {key}'."
            )

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise the error of a value that can't be used. `problem` ends without a full stop."""
        raise pulumi.RunError(f"dlstack:{key} '{self.text(key, '')}' {problem}.")

    def text(self, key: str, default: str) -> str:
        return self._config.get(key) or default

    def required(self, key: str, what: str) -> str:
        value = self._config.get(key)
        if not value:
            raise pulumi.RunError(
                f"dlstack:{key} is not set: {what}. Run 'pulumi config set dlstack:{key} VALUE'."
            )
        return value

    def credential(self, key: str) -> str:
        """Return a secret value in the clear; it is wrapped again where it becomes an input."""
        value = pulumi.runtime.get_config(f"dlstack:{key}")
        if not value:
            raise pulumi.RunError(
                f"dlstack:{key} is not set, but an object store is configured. "
                f"Run 'pulumi config set --secret dlstack:{key} VALUE'."
            )
        return str(value)

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(key, default)
        if value not in choices:
            self.fail(key, f"is unknown. Use one of: {', '.join(choices)}")
        return value

    def integer(self, key: str, *, low: int, high: int | None = None) -> int | None:
        value = self._config.get(key)
        if not value:
            return None
        allowed = f"{low} to {high}" if high else f"{low} or more"
        if not re.fullmatch(r"\d+", value) or not low <= int(value) <= (high or int(value)):
            self.fail(key, f"is not a whole number in range. Use {allowed}")
        return int(value)

    def objects(self, key: str, advice: str) -> dict[str, Any]:
        """Return a value that is an object of names and values, empty unless set."""
        try:
            document = json.loads(self.text(key, "{}"))
        except json.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            self.fail(key, f"is not an object of names and values. {advice}")
        return document

    def flag(self, key: str) -> bool:
        value = self.text(key, "false")
        if value not in ("true", "false"):
            self.fail(key, "is neither 'true' nor 'false'. Use one of them")
        return value == "true"


def _fail_of_flavours(problem: str) -> NoReturn:
    # The whole value would fill the screen: the problem quotes what is wrong in it.
    raise pulumi.RunError(f"dlstack:flavours {problem}.")


def _access(config: _Config) -> AccessSettings | None:
    certificate = config.text("tlsCertificate", "")
    key, token = (
        str(pulumi.runtime.get_config(f"dlstack:{name}") or "") for name in ("tlsKey", "token")
    )
    if not config.flag("tls"):
        for name, value in (("tlsCertificate", certificate), ("tlsKey", key), ("token", token)):
            if value:
                raise pulumi.RunError(
                    f"dlstack:{name} is set, but TLS is off, so it would have no effect, or others "
                    "could read it on the way. Run 'pulumi config set dlstack:tls true', or remove "
                    "it."
                )
        return None
    _check_certificate(config, certificate, key)
    if token and (len(token) < 16 or not token.isascii() or not re.fullmatch(r"\S+", token)):
        raise pulumi.RunError(
            "dlstack:token has fewer than 16 characters, or spaces, or characters that are not "
            "printable ASCII. Make one with 'openssl rand -hex 20'."
        )
    if token and config.text("servingEngine", "") == "tensorflow-serving":
        raise pulumi.RunError(
            "dlstack:token is set, but TensorFlow Serving can't check a token over gRPC. Set "
            "dlstack:servingEngine to embedded, or remove the token."
        )
    return AccessSettings(certificate=certificate, key=key, token=token)


def _check_certificate(config: _Config, certificate: str, key: str) -> None:
    if bool(certificate) != bool(key):
        raise pulumi.RunError(
            "Only one of dlstack:tlsCertificate and dlstack:tlsKey is set. Set both, each as PEM, "
            "or none: without them the stack makes a certificate."
        )
    if certificate:
        try:
            problem = (
                ""
                if belong_together(certificate, key)
                else "the key belongs to another certificate"
            )
        except ValueError as exc:
            problem = str(exc).splitlines()[0].rstrip(".")
        if problem:
            raise pulumi.RunError(
                f"dlstack:tlsCertificate and dlstack:tlsKey can't be used: {problem}. Set them to "
                "PEM texts: pulumi config set --secret dlstack:tlsKey < key.pem"
            )
    elif config.text("serviceType", "") == "LoadBalancer" and not config.text("host", ""):
        raise pulumi.RunError(
            "A certificate has to name the load balancer's address, which is unknown until the "
            "balancer exists. Set dlstack:host to the DNS name that it will have, or set "
            "dlstack:tlsCertificate and dlstack:tlsKey."
        )


def _store(config: _Config) -> ExternalStore | None:
    endpoint, region = config.text("s3Endpoint", ""), config.text("s3Region", "")
    if not endpoint and not region:
        for key in ("s3AccessKey", "s3SecretKey"):
            if pulumi.runtime.get_config(f"dlstack:{key}"):
                raise pulumi.RunError(
                    f"dlstack:{key} is set, but no object store is configured. Set "
                    "dlstack:s3Region (AWS) or dlstack:s3Endpoint, or remove the key: the stack's "
                    "own object store makes its credentials itself."
                )
        return None
    if endpoint and not re.fullmatch(r"https?://[^/\s]+/?", endpoint):
        config.fail("s3Endpoint", "is not the URL of an object store. Use http(s)://HOST[:PORT]")
    return ExternalStore(
        endpoint=endpoint.rstrip("/"),
        region=region or "us-east-1",
        access_key=config.credential("s3AccessKey"),
        secret_key=config.credential("s3SecretKey"),
    )


def _data_dir(config: _Config, store: ExternalStore | None) -> str:
    data_dir = config.required(
        "dataDir",
        "a folder with the data set, or its s3:// URL ('make data' fetches MNIST into data/mnist)",
    )
    if data_dir.startswith("s3://"):
        if not re.fullmatch(r"s3://[^/\s]+(/\S*)?", data_dir):
            config.fail("dataDir", "is not the URL of a data set. Use s3://BUCKET/PREFIX")
        if store is None:
            config.fail(
                "dataDir",
                "lies in an object store, but none is configured. Set dlstack:s3Region (AWS) or "
                "dlstack:s3Endpoint, or use a local folder",
            )
    elif not Path(data_dir).is_dir():
        config.fail(
            "dataDir",
            "is not a folder. Set it to the folder of the data set ('make data' "
            "fetches MNIST into data/mnist)",
        )
    return data_dir.rstrip("/")


def _code(config: _Config) -> dict[str, Any]:
    code_dir = Path(config.text("codeDir", str(Settings.code_dir)))
    boot_file = config.text("bootFile", Settings.boot_file)
    if not code_dir.is_dir():
        raise pulumi.RunError(
            f"dlstack:codeDir '{code_dir}' is not a folder. Set it to the folder of your code."
        )
    if Path(boot_file).is_absolute() or ".." in Path(boot_file).parts:
        config.fail("bootFile", "leads out of the code folder. Use a path relative to it")
    if not (code_dir / boot_file).is_file():
        raise pulumi.RunError(
            f"dlstack:bootFile '{boot_file}' is not in the code folder '{code_dir}'. "
            "Put it there, or set dlstack:bootFile."
        )
    return {"code_dir": code_dir, "boot_file": boot_file}


def _run_parameters(config: _Config) -> dict[str, str]:
    advice = "Set one with 'pulumi config set --path dlstack:runParameters.NAME VALUE'"
    parameters = {}
    for key, value in sorted(config.objects("runParameters", advice).items()):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", key):
            config.fail("runParameters", f"has '{key}', which is not the name of a flag. {advice}")
        if key in _RESERVED_PARAMETERS:
            config.fail("runParameters", f"has '{key}', which dlstack sets itself. Remove it")
        if not isinstance(value, str | int | float):
            config.fail(
                "runParameters",
                f"has '{key}' with a value that is neither a text nor a number. {advice}",
            )
        # As JSON would write it: true, not Python's True.
        parameters[key] = value if isinstance(value, str) else json.dumps(value)
    return parameters


def _duration(config: _Config, key: str, default: int) -> int:
    text = config.text(key, str(default))
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not total:
        config.fail(key, "is not a duration. Use seconds, or hours and minutes as in '1h30m'")
    return total


def _fraction(config: _Config, key: str) -> float | None:
    text = config.text(key, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        config.fail(key, "is out of range. Use a number from 0 to 1, as 0.95")
    return value


def _metrics(config: _Config, key: str) -> dict[str, float]:
    advice = f"Set one with 'pulumi config set --path dlstack:{key}.NAME NUMBER'"
    metrics = {}
    for name, value in sorted(config.objects(key, advice).items()):
        try:
            # Text, as --path writes fractions; but true is no 1.
            metrics[name] = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            metrics[name] = math.nan
        if not name or not math.isfinite(metrics[name]):
            config.fail(key, f"has '{name}' with a value that is not a number. {advice}")
    return metrics


def _quantity(config: _Config, key: str, default: str) -> str:
    value = config.text(key, default)
    if not _QUANTITY.fullmatch(value):
        config.fail(key, "is not a size. Use a number with a unit, as '10Gi'")
    return value


def _host(config: _Config) -> str | None:
    host = config.text("host", "")
    if host and not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        config.fail("host", "is not an address. Use a name or an IP without scheme and port")
    return host or None

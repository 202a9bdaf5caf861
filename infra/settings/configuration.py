"""From the stack's configuration to its settings: every key and its default are here."""

import re
from typing import NoReturn, get_args

import pulumi

from ..cluster.flavour import Flavour
from . import access, external_store, flavour_settings, flavours, name_rules, proxy, run_inputs
from .reader import Reader
from .settings import LogFormat, ServiceType, ServingEngine, Settings

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
    "proxy",
    "retries",
    "runParameters",
    "runtimeImage",
    "s3AccessKey",
    "s3Endpoint",
    "s3Region",
    "s3SecretKey",
    "serviceType",
    "servingBatching",
    "servingCors",
    "servingEngine",
    "servingFlavour",
    "servingOpLibraries",
    "servingReplicas",
    "stackId",
    "storageClass",
    "storageSize",
    "timeout",
    "tls",
    "tlsCertificate",
    "tlsKey",
    "token",
)
"""Every key of the namespace `dlstack`."""

_SERVICE_TYPES: tuple[ServiceType, ...] = get_args(ServiceType)
_SERVING_ENGINES: tuple[ServingEngine, ...] = get_args(ServingEngine)
_LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)


def load() -> Settings:
    """Read the stack's configuration.

    Raises:
        pulumi.RunError: a value is missing or can't be used, or a key is unknown.
    """
    reader = Reader()
    reader.refuse_all_but(KEYS)
    stack = name_rules.stack(f"{pulumi.get_project()}-{pulumi.get_stack()}")
    store = external_store.read(reader)
    model_version = reader.integer("modelVersion", low=1)
    # With a pinned version nothing is trained: what that would take need not even be here.
    trains = model_version is None
    data_dir = run_inputs.data_dir(reader, store, must_be_there=trains)
    code_dir, boot_file = run_inputs.code(reader, must_be_there=trains)
    runtime_image = reader.required(
        "runtimeImage", "the image built from local/build/image ('make up' builds and sets it)"
    )
    bucket_prefix = reader.text("bucketPrefix", stack)
    table = {**flavours.TABLE, **_own_flavours(reader)}
    service_type = reader.choice("serviceType", "NodePort", _SERVICE_TYPES)
    serving_engine = reader.choice("servingEngine", "embedded", _SERVING_ENGINES)
    host = _host(reader)
    return Settings(
        stack=stack,
        runtime_image=runtime_image,
        data_dir=data_dir,
        namespace=name_rules.namespace(reader.text("namespace", stack)),
        image=reader.text("image", runtime_image),
        code_dir=code_dir,
        boot_file=boot_file,
        run_parameters=run_inputs.parameters(reader),
        flavour=flavours.find(reader.text("flavour", "cpu"), "dlstack:flavour", table),
        node_count=reader.integer("nodeCount", low=1) or 1,
        timeout_seconds=reader.seconds("timeout", 3600),
        retries=reader.integer("retries", low=0) or 0,
        min_accuracy=reader.fraction("minAccuracy"),
        min_metrics=reader.numbers("minMetrics"),
        max_metrics=reader.numbers("maxMetrics"),
        model_name=name_rules.model(reader.text("modelName", "mnist")),
        model_version=model_version,
        serving_engine=serving_engine,
        serving_replicas=reader.integer("servingReplicas", low=1) or 1,
        serving_batching=reader.flag("servingBatching"),
        serving_cors=reader.flag("servingCors"),
        serving_op_libraries=_op_libraries(reader, serving_engine),
        log_format=reader.choice("logFormat", "text", _LOG_FORMATS),
        serving_flavour=flavours.find(
            reader.text("servingFlavour", "cpu-small"), "dlstack:servingFlavour", table
        ),
        service_type=service_type,
        grpc_node_port=_grpc_node_port(reader, service_type),
        host=host,
        access=access.read(reader, engine=serving_engine, service_type=service_type, host=host),
        store=store,
        data_bucket=name_rules.bucket(bucket_prefix, "data"),
        output_bucket=name_rules.bucket(bucket_prefix, "output"),
        proxy=proxy.read(),
        storage_size=reader.size("storageSize", "10Gi"),
        storage_class=reader.text("storageClass") or None,
        force_destroy=reader.flag("forceDestroy"),
        kube_context=_kube_context(),
        stack_id=name_rules.stack_id(reader.text("stackId")) or None,
    )


def _op_libraries(reader: Reader, serving_engine: ServingEngine) -> tuple[str, ...]:
    paths = tuple(filter(None, map(str.strip, reader.text("servingOpLibraries").split(","))))
    if not all(path.startswith("/") for path in paths):
        reader.fail(
            "servingOpLibraries",
            "has a path that does not begin with '/'. Name libraries of the runtime image, or "
            "folders with them, with commas in between",
        )
    if paths and serving_engine == "tensorflow-serving":
        reader.fail(
            "servingOpLibraries",
            "is set, but TensorFlow Serving loads no libraries: build its image with the "
            "operations. Set dlstack:servingEngine to embedded, or remove the key",
        )
    return paths


def _own_flavours(reader: Reader) -> dict[str, Flavour]:
    return flavour_settings.read(
        reader.objects("flavours", 'Write it like {"gpu-a": {"cpu": 8, "memory": "64Gi"}}'),
        _fail_of_flavours,
    )


def _fail_of_flavours(problem: str) -> NoReturn:
    # The whole value would fill the screen: the problem quotes what is wrong in it.
    raise pulumi.RunError(f"dlstack:flavours {problem}.")


def _grpc_node_port(reader: Reader, service_type: ServiceType) -> int | None:
    port = reader.integer("grpcNodePort", low=1, high=65535)
    if port and service_type != "NodePort":
        reader.fail("grpcNodePort", f"needs serviceType NodePort, not '{service_type}'")
    return port


def _host(reader: Reader) -> str | None:
    host = reader.text("host")
    if host and not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        reader.fail("host", "is not an address. Use a name or an IP without scheme and port")
    return host or None


def _kube_context() -> str:
    """Return the context that the stack's Kubernetes provider uses, too."""
    kubernetes = pulumi.Config("kubernetes")
    if kubernetes.get("kubeconfig"):
        raise pulumi.RunError(
            "kubernetes:kubeconfig is set, but the object store's credentials are read through "
            "KUBECONFIG. Unset it, and name the file in the environment variable KUBECONFIG."
        )
    return kubernetes.get("context") or ""

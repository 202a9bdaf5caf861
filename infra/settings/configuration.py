"""From the stack's configuration to its settings: every key and its default are here."""

from typing import NoReturn, get_args

import pulumi

from ..cluster.exposure import ServiceType
from ..cluster.flavour import Flavour
from . import (
    access,
    boot_environment,
    exposure,
    external_store,
    flavour_settings,
    flavours,
    name_rules,
    pods,
    proxy,
    regressions,
    run_inputs,
    scaling,
)
from .reader import Reader
from .settings import DataMode, LogFormat, Metrics, ServingEngine, Settings

KEYS = (
    "bootFile",
    "bucketPrefix",
    "codeDir",
    "createNamespace",
    "dataBucket",
    "dataDir",
    "dataMode",
    "deploy",
    "drainSeconds",
    "env",
    "flavour",
    "flavours",
    "forceDestroy",
    "gateway",
    "graceSeconds",
    "grpcHost",
    "grpcNodePort",
    "host",
    "image",
    "imagePullSecrets",
    "ingressAnnotations",
    "ingressClass",
    "insecure",
    "joinTimeout",
    "keepVersions",
    "loadBalancerSourceRanges",
    "loadTimeout",
    "logFormat",
    "maxMetrics",
    "maxRegression",
    "metrics",
    "metricsLabels",
    "minAccuracy",
    "minMetrics",
    "model",
    "modelName",
    "modelVersion",
    "namespace",
    "networkPolicies",
    "nodeCount",
    "nodeSelector",
    "outputBucket",
    "pauseSeconds",
    "podAnnotations",
    "podLabels",
    "priorityClass",
    "proxy",
    "queue",
    "retries",
    "runAsUser",
    "runParameters",
    "runtimeImage",
    "s3AccessKey",
    "s3AddressingStyle",
    "s3CaCertificate",
    "s3Credentials",
    "s3Endpoint",
    "s3Region",
    "s3SecretKey",
    "s3SessionToken",
    "secretEnv",
    "serviceAccount",
    "serviceAnnotations",
    "serviceType",
    "servingBatching",
    "servingCors",
    "servingEngine",
    "servingFlavour",
    "servingOpLibraries",
    "servingReplicas",
    "servingSurge",
    "stackId",
    "startTimeout",
    "storageClass",
    "storageSize",
    "tensorboardServiceType",
    "timeout",
    "tls",
    "tlsCertificate",
    "tlsKey",
    "tlsSecret",
    "token",
    "tolerations",
)
"""Every key of the namespace `dlstack`."""

GRACE_SECONDS = 30
"""Kubernetes' own default."""

PAUSE_SECONDS = 15
"""Nodes of big clusters take up to 10 s to learn where a Service's pods are."""

DRAIN_SECONDS = 40
"""The gateway waits that long for an answer; the model server, over REST, 30 s."""

LOAD_SECONDS = 600
"""To pull an image of some GB, fetch a model and load it."""

_MOST_SECONDS = 86_400

_SERVING_ENGINES: tuple[ServingEngine, ...] = get_args(ServingEngine)
_DATA_MODES: tuple[DataMode, ...] = get_args(DataMode)
_LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)
_METRICS: tuple[Metrics, ...] = get_args(Metrics)


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
    deploys = reader.flag("deploy", default=True)
    if model_version is not None and not deploys:
        reader.fail(
            "modelVersion",
            "names a version to serve, but dlstack:deploy is false. Remove one of the two: "
            "'pulumi config rm dlstack:modelVersion' or 'pulumi config rm dlstack:deploy'",
        )
    model = run_inputs.model(reader)
    if model_version is not None and model is not None:
        reader.fail(
            "modelVersion",
            "names a version to serve, but dlstack:model names a model to copy and serve. Remove "
            "one of the two: 'pulumi config rm dlstack:modelVersion' or 'pulumi config rm "
            "dlstack:model'",
        )
    # Else nothing is trained: what that would take need not even be here.
    trains = model_version is None and model is None
    data_dir = run_inputs.data_dir(reader, store, must_be_set=trains, must_be_there=trains)
    code_dir, boot_file = run_inputs.code(reader, must_be_there=trains)
    min_metrics, max_metrics = reader.numbers("minMetrics"), reader.numbers("maxMetrics")
    max_decrease, max_increase = regressions.read(reader, min_metrics, max_metrics)
    runtime_image = reader.required(
        "runtimeImage", "the image built from local/build/image ('make up' builds and sets it)"
    )
    bucket_prefix, given = reader.text("bucketPrefix", stack), external_store.buckets(reader, store)
    table = {**flavours.TABLE, **_own_flavours(reader)}
    exposed = exposure.read(reader)
    tensorboard_service_type = reader.choice(
        "tensorboardServiceType", "ClusterIP", get_args(ServiceType)
    )
    serving_engine = reader.choice("servingEngine", "embedded", _SERVING_ENGINES)
    entry = access.read(reader, engine=serving_engine, exposure=exposed)
    every_pod = pods.read(reader)
    env, secret_env = boot_environment.read(reader)
    timeout, start, join = _times(reader)
    return Settings(
        stack=stack,
        runtime_image=runtime_image,
        data_dir=data_dir,
        data_mode=reader.choice("dataMode", "copy", _DATA_MODES),
        namespace=name_rules.namespace(reader.text("namespace", stack)),
        creates_namespace=reader.flag("createNamespace", default=True),
        image=reader.text("image", runtime_image),
        code_dir=code_dir,
        boot_file=boot_file,
        run_parameters=run_inputs.parameters(reader),
        env=env,
        secret_env=secret_env,
        flavour=every_pod.placed(
            flavours.find(reader.text("flavour", "cpu"), "dlstack:flavour", table)
        ),
        node_count=reader.integer("nodeCount", low=1) or 1,
        timeout_seconds=timeout,
        start_seconds=start,
        join_seconds=join,
        grace_seconds=reader.integer("graceSeconds", low=1, high=_MOST_SECONDS) or GRACE_SECONDS,
        retries=reader.integer("retries", low=0) or 0,
        min_accuracy=reader.fraction("minAccuracy"),
        min_metrics=min_metrics,
        max_metrics=max_metrics,
        max_decrease=max_decrease,
        max_increase=max_increase,
        model_name=name_rules.model(reader.text("modelName", "mnist")),
        model=model,
        model_version=model_version,
        keep_versions=reader.integer("keepVersions", low=1),
        deploys=deploys,
        serving_engine=serving_engine,
        serving_scale=scaling.read(reader),
        serving_surge=_surge(reader),
        pause_seconds=_seconds(reader, "pauseSeconds", PAUSE_SECONDS),
        drain_seconds=_seconds(reader, "drainSeconds", DRAIN_SECONDS),
        load_seconds=reader.seconds("loadTimeout", LOAD_SECONDS),
        serving_batching=reader.flag("servingBatching"),
        serving_cors=reader.flag("servingCors"),
        serving_op_libraries=_op_libraries(reader, serving_engine),
        log_format=reader.choice("logFormat", "text", _LOG_FORMATS),
        metrics=reader.choice("metrics", "auto", _METRICS),
        metrics_labels=pods.labels(reader, "metricsLabels"),
        serving_flavour=every_pod.placed(
            flavours.find(
                reader.text("servingFlavour", "cpu-small"), "dlstack:servingFlavour", table
            )
        ),
        exposure=exposure.with_access(reader, exposed, entry, tensorboard_service_type),
        tensorboard_service_type=tensorboard_service_type,
        access=entry,
        store=store,
        data_bucket=given["data"] or name_rules.bucket(bucket_prefix, "data"),
        output_bucket=given["output"] or name_rules.bucket(bucket_prefix, "output"),
        given_buckets=frozenset(filter(None, given.values())),
        network_policies=reader.flag("networkPolicies", default=True),
        pods=every_pod,
        asks_for_user=not pods.is_user_set(reader),
        queue=pods.queue(reader),
        proxy=proxy.read(),
        storage_size=reader.size("storageSize", "10Gi"),
        storage_class=reader.text("storageClass") or None,
        force_destroy=reader.flag("forceDestroy"),
        kube_context=_kube_context(),
        stack_id=name_rules.stack_id(reader.text("stackId")) or None,
    )


_JOIN_SECONDS = 600


def _times(reader: Reader) -> tuple[int, int | None, int]:
    """Return how long a Job may take, wait for a node, and have its workers wait for each other.

    In seconds; the second is None where it is not set.
    """
    timeout = reader.seconds("timeout", 3600)
    start = reader.seconds("startTimeout", 0) if reader.text("startTimeout") else None
    if start is not None and start > timeout:
        reader.fail(
            "startTimeout",
            f"is longer than dlstack:timeout ({timeout} s), which counts from the making of the "
            "job, waiting included. Raise timeout, or lower startTimeout",
        )
    # The first worker waits for those whose nodes are still to come.
    join = reader.seconds("joinTimeout", max(_JOIN_SECONDS, start or 0))
    if start is not None and join < start:
        reader.fail(
            "joinTimeout",
            f"is shorter than dlstack:startTimeout ({start} s), so workers would give up while "
            "nodes of the others are still made. Raise joinTimeout, or remove it",
        )
    return timeout, start, join


def _seconds(reader: Reader, key: str, default: int) -> int:
    seconds = reader.integer(key, low=0, high=_MOST_SECONDS)
    return default if seconds is None else seconds


def _surge(reader: Reader) -> bool | None:
    chosen = reader.choice("servingSurge", "auto", ("auto", "always", "never"))
    return None if chosen == "auto" else chosen == "always"


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


def _kube_context() -> str:
    """Return the context that the stack's Kubernetes provider uses, too."""
    kubernetes = pulumi.Config("kubernetes")
    if kubernetes.get("kubeconfig"):
        raise pulumi.RunError(
            "kubernetes:kubeconfig is set, but the object store's credentials are read through "
            "KUBECONFIG. Unset it, and name the file in the environment variable KUBECONFIG."
        )
    return kubernetes.get("context") or ""

"""Which models to serve: from the flags, from `--model_config_file`, or from a reload request.

Checks and texts follow TensorFlow Serving's `model_servers/server_core.cc`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2

from .. import text_protos
from ..config import ServerConfig
from ..errors import InvalidArgument, Unimplemented
from .folders import VersionPolicy

log = logging.getLogger(__name__)

PLATFORM = "tensorflow"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """One `ModelConfig`, checked."""

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: dict[str, int] = field(default_factory=dict)
    """Label to version number."""


def from_flags(config: ServerConfig) -> model_server_config_pb2.ModelServerConfig:
    """Return the models that the command line names, or those of its file.

    Raises:
        ServingError: the file can't be read.
    """
    message = model_server_config_pb2.ModelServerConfig()
    if config.model_config_file:
        return text_protos.read(config.model_config_file, message)
    message.model_config_list.config.add(
        name=config.model_name, base_path=config.model_base_path, model_platform=PLATFORM
    )
    return message


def read(
    message: model_server_config_pb2.ModelServerConfig, known: Sequence[str] = ()
) -> list[ModelSettings]:
    """Return the settings of every model in a message.

    Args:
        message: its `model_config_list` is read; without one there are no models.
        known: names that are served already; each on the platform `tensorflow`.

    Raises:
        ServingError: the list is not one that this server can serve.
    """
    if message.WhichOneof("config") == "custom_model_config":
        raise InvalidArgument("Missing custom_model_config_loader in ServerCore Options")
    models = message.model_config_list.config
    names: set[str] = set()
    for model in models:
        if model.name in names:
            raise InvalidArgument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        names.add(model.name)
    for model in models:
        if "://" not in model.base_path and not model.base_path.startswith("/"):
            raise InvalidArgument(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
    for model in models:
        _check_platform(model, model.name in known)
        if model.HasField("logging_config"):
            raise InvalidArgument("No request-logger-creator provided.")
        if "://" in model.base_path:
            raise Unimplemented(
                f"Model {model.name} has the URI {model.base_path} as base_path. This server reads "
                "local folders only; copy the versions there with serving.sync."
            )
    return [
        ModelSettings(
            name=model.name,
            base_path=Path(model.base_path),
            policy=_policy(model),
            labels=dict(model.version_labels),
        )
        for model in models
    ]


def _check_platform(model: model_server_config_pb2.ModelConfig, known: bool) -> None:
    platform = model.model_platform
    if model.model_type:
        log.warning(
            "Deprecated ModelServerConfig::model_type field used. "
            "Prefer ModelServerConfig::model_platform."
        )
        if platform:
            raise InvalidArgument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) "
                "and ModelServerConfig::model_platform."
            )
        if model.model_type != model_server_config_pb2.TENSORFLOW:
            raise InvalidArgument(
                f"ModelServerConfig::model_type choice {model.model_type} not supported."
            )
        platform = PLATFORM
    if not platform:
        raise InvalidArgument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) "
            "nor ModelServerConfig::model_platform."
        )
    if platform != PLATFORM:
        raise InvalidArgument(
            f"Illegal to change a model's platform. For model {model.name} platform was "
            f"{PLATFORM} and new platform requested is {platform}"
            if known
            else f"Model {model.name} requests unsupported platform {platform}"
        )


def _policy(model: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy = model.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return VersionPolicy(latest=0)
        case "specific":
            if not policy.specific.versions:
                raise InvalidArgument(
                    f"Model {model.name} has the version policy 'specific' without versions. "
                    "Name at least one."
                )
            return VersionPolicy(specific=frozenset(policy.specific.versions))
        case "latest":
            # As in TensorFlow Serving, a count that is not set means 1.
            return VersionPolicy(latest=policy.latest.num_versions or 1)
    return VersionPolicy()

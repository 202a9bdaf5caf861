"""Workers pass by the proxy to the world when they talk to each other."""

import json
from collections.abc import Mapping

_VARIABLES = ("no_proxy", "NO_PROXY")


def passing_by(environment: Mapping[str, str], tf_config: str) -> dict[str, str]:
    """Return the variables by which programs ask no proxy for the workers of TF_CONFIG.

    TensorFlow's gRPC takes `https_proxy` and `http_proxy` for all that `no_proxy` doesn't name, and
    the addresses of pods are known only when they run.

    Args:
        environment: of the agent.
        tf_config: names the workers, each as `host:port`.
    """
    if not any(name.lower().endswith("_proxy") for name in environment):
        return {}
    addresses = json.loads(tf_config)["cluster"]["worker"]
    hosts = [address.rpartition(":")[0].strip("[]") for address in addresses]
    found = {}
    for name in _VARIABLES:
        words = [word for word in environment.get(name, "").split(",") if word]
        if "*" not in words:
            found[name] = ",".join(dict.fromkeys([*words, *hosts]))
    return found

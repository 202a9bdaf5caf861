"""The value of `dlstack:proxy`: how pods reach the world where a proxy stands between."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pulumi

_KEY = "dlstack:proxy"
_ADVICE = f"Set one with 'pulumi config set --path {_KEY}.httpsProxy http://HOST:PORT'"
_URL = re.compile(r"(https?|socks5h?)://[^\s/?#]+/?")


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """Proxies of pods. URLs may have a user and a password in them."""

    http: str = field(repr=False)
    """URL of the proxy for http:// addresses; empty: there is none."""
    https: str = field(repr=False)
    """The same for https:// addresses."""
    exceptions: tuple[str, ...]
    """Names, addresses and ranges that it is not asked for."""


def read() -> Proxy | None:
    """Return the proxies that are configured; None: there are none.

    Raises:
        pulumi.RunError: a value can't be used, or a password lies open in the configuration. The
            message quotes no URL, since it may have one in it.
    """
    document = _document()
    if not document:
        return None
    for name, value in document.items():
        if name not in ("httpProxy", "httpsProxy", "noProxy"):
            raise pulumi.RunError(
                f"{_KEY} has '{name}', which is unknown. Use httpProxy, httpsProxy and noProxy."
            )
        if not isinstance(value, str):
            raise pulumi.RunError(f"{_KEY} has a {name} that is not a text. {_ADVICE}.")
    urls = {name: document.get(name, "") for name in ("httpProxy", "httpsProxy")}
    for name, url in urls.items():
        if url and not _URL.fullmatch(url):
            raise pulumi.RunError(
                f"{_KEY} has an {name} that is not the URL of a proxy. Use http://HOST:PORT."
            )
        if urlsplit(url).username is not None and not pulumi.runtime.is_config_secret(_KEY):
            raise pulumi.RunError(
                f"{_KEY} has an {name} with a user in it, and is not encrypted in the stack's "
                f"configuration. Run 'pulumi config rm {_KEY}', then 'pulumi config set --secret "
                f'{_KEY}\' and enter {{"{name}": "http://USER:PASSWORD@HOST:PORT"}}.'
            )
    if not any(urls.values()):
        raise pulumi.RunError(f"{_KEY} names no proxy. {_ADVICE}, or remove the key.")
    words = str(document.get("noProxy", "")).split(",")
    return Proxy(
        http=urls["httpProxy"],
        https=urls["httpsProxy"],
        exceptions=tuple(word.strip() for word in words if word.strip()),
    )


def _document() -> dict[str, Any]:
    # Not by `Reader.text`: an encrypted value is as good as one that is not.
    text = pulumi.runtime.get_config(_KEY) or "{}"
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        quoted = "" if "@" in text else f" '{text}'"
        raise pulumi.RunError(f"{_KEY}{quoted} is not an object of names and values. {_ADVICE}.")
    return document


def variables(proxy: Proxy, own_names: tuple[str, ...]) -> dict[str, str]:
    """Return the variables of a pod's environment, as curl, Go, Python and gRPC read them.

    Args:
        proxy: as configured.
        own_names: what is in the cluster, and never asked for through a proxy.
    """
    found = {"HTTP_PROXY": proxy.http, "HTTPS_PROXY": proxy.https}
    found = {name: url for name, url in found.items() if url}
    everything = "*" in proxy.exceptions
    # Python takes the star for everything only if it stands alone.
    listed = ("*",) if everything else dict.fromkeys((*proxy.exceptions, *own_names))
    found["NO_PROXY"] = ",".join(listed)
    return {**found, **{name.lower(): value for name, value in found.items()}}

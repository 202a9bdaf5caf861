"""Which HTTP proxy of the environment a server is reached by, if any.

The rules are curl's and Go's: variables in lower case come before those in upper case, names in
NO_PROXY stand for their subdomains too, ranges of addresses may be there, and this machine itself
is never reached by a proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ..errors import SettingsError

#: Variables that name a proxy, the first that is set; gRPC's own are those of its core.
_VARIABLES: Mapping[tuple[str, bool], tuple[str, ...]] = {
    ("rest", False): ("http_proxy", "all_proxy"),
    ("rest", True): ("https_proxy", "all_proxy"),
    ("grpc", False): ("grpc_proxy", "https_proxy", "http_proxy"),
    ("grpc", True): ("grpc_proxy", "https_proxy", "http_proxy"),
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy."""

    host: str
    port: int
    variable: str
    """The one that names it."""
    user: str | None = None
    """`name:password`."""

    def __str__(self) -> str:
        """Return what may be shown: neither name nor password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({self.variable})"

    def url(self) -> str:
        """Return it as gRPC wants it, with the credentials."""
        from urllib.parse import quote

        name, colon, password = (self.user or "").partition(":")
        user = f"{quote(name, safe='')}{colon}{quote(password, safe='')}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{user}{host}:{self.port}"

    def headers(self) -> dict[str, str]:
        """Return the headers by which it lets a request in."""
        if self.user is None:
            return {}
        import base64

        return {"Proxy-Authorization": f"Basic {base64.b64encode(self.user.encode()).decode()}"}


def proxy_for(
    environment: Mapping[str, str], transport: str, host: str, port: int, *, tls: bool
) -> Proxy | None:
    """Return the proxy by which to reach `host:port`; None: none.

    Raises:
        SettingsError: the variable names no HTTP proxy.
    """
    names = [
        name
        for lower in _VARIABLES[transport, tls]
        for name in (lower, lower.upper())
        if environment.get(name)
    ]
    if not names or _is_excepted(environment, host, port):
        return None
    value = environment[names[0]]
    parts = urlsplit(value if "://" in value else f"http://{value}")
    try:
        found, number = parts.hostname, parts.port or 80
    except ValueError:
        found, number = None, 0
    if parts.scheme != "http" or not found:
        shown = f"{parts.scheme}://{parts.hostname}" if parts.hostname else "its value"
        raise SettingsError(
            f"{names[0]} names no HTTP proxy ({shown}). Set it to http://HOST:PORT, or have "
            f"no_proxy name {host}."
        )
    user = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(found, number, names[0], user)


def _is_excepted(environment: Mapping[str, str], host: str, port: int) -> bool:
    import ipaddress

    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        address = None
    name = host.lower().rstrip(".")
    if name == "localhost" or (address is not None and address.is_loopback):
        return True
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    for entry in given.lower().replace(",", " ").split():
        if entry == "*":
            return True
        bare, _, own_port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if entry.startswith("["):
            bare, _, own_port = entry[1:].partition("]")
            own_port = own_port.removeprefix(":")
        if own_port and own_port != str(port):
            continue
        if address is not None:
            try:
                if address in ipaddress.ip_network(bare, strict=False):
                    return True
            except ValueError:
                pass
        domain = bare.removeprefix("*").strip(".")
        if domain and (name == domain or name.endswith(f".{domain}")):
            return True
    return False

"""The package registries that a first `make up` downloads from: whether they answer, and when."""

from __future__ import annotations

import configparser
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path

from .facts import Machine, Needs
from .finding import Finding, ok, warning

SECONDS = 3.0


def addresses(machine: Machine) -> dict[str, str]:
    """Name of each registry, and the URL at which this machine's settings have it."""
    return {"PyPI": _pip(machine), "Go modules": _go(machine), "Debian": _apt(machine)}


def _pip(machine: Machine) -> str:
    given = machine.environment.get("PIP_INDEX_URL")
    if given:
        return given
    files = [machine.environment.get("PIP_CONFIG_FILE", "")]
    home = machine.environment.get("HOME", "/root")
    files += [f"{home}/.config/pip/pip.conf", f"{home}/.pip/pip.conf", "/etc/pip.conf"]
    for file in files:
        settings = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            settings.read_string(machine.text(file) if file else "")
        except configparser.Error:
            continue
        url = settings.get("global", "index-url", fallback="")
        if url:
            return url
    return "https://pypi.org/simple"


def _go(machine: Machine) -> str:
    named = machine.environment.get("GOPROXY") or "https://proxy.golang.org"
    urls = [word for word in re.split(r"[,|]", named) if word.startswith("http")]
    return urls[0] if urls else ""


def _apt(machine: Machine) -> str:
    folder = machine.path("/etc/apt")
    files = [folder / "sources.list"]
    if (folder / "sources.list.d").is_dir():
        files += sorted((folder / "sources.list.d").iterdir())
    for file in files:
        found = re.search(
            r"^(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(http\S+)", _read(file), re.MULTILINE
        )
        if found:
            return found[1]
    return ""


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def ask(urls: Mapping[str, str]) -> dict[str, tuple[float | None, str]]:
    """Ask each URL for its head, side by side.

    Returns:
        By URL: the server's time in seconds since the epoch, if it told one, and what was wrong;
        empty if the server answered, whatever it answered.
    """
    answers: dict[str, tuple[float | None, str]] = {}

    def one(url: str) -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                answers[url] = _date(answer.headers), ""
        except urllib.error.HTTPError as error:
            answers[url] = _date(error.headers), ""
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            answers[url] = None, str(getattr(reason, "strerror", None) or reason)
            if isinstance(reason, ssl.SSLCertVerificationError):
                answers[url] = None, f"its certificate is not trusted ({reason.verify_message})"

    # Daemons: a name server that does not answer keeps its thread longer than anybody waits.
    threads = [threading.Thread(target=one, args=(url,), daemon=True) for url in urls.values()]
    for thread in threads:
        thread.start()
    until = time.monotonic() + SECONDS + 0.5
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    silent = (None, f"no answer in {SECONDS:.0f} s")
    return {url: answers.get(url, silent) for url in urls.values()}


def _date(headers: Message) -> float | None:
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None


def examine(
    urls: Mapping[str, str], answers: Mapping[str, tuple[float | None, str]], needs: Needs
) -> Iterator[Finding]:
    """Judge what `ask` returned."""
    failed = {name: url for name, url in urls.items() if url and answers[url][1]}
    there = [name for name, url in urls.items() if url and name not in failed]
    if there:
        yield ok("registries", f"{', '.join(there)} answer")
    for name, url in failed.items():
        host = re.sub(r"^https?://(?:[^/@]*@)?([^/]+).*", r"\1", url)
        error = answers[url][1]
        cure = (
            "Name a server in /etc/resolv.conf that knows it, or set HTTPS_PROXY and HTTP_PROXY."
            if "name" in error.lower()
            else "Name the file of your network's authority in SSL_CERT_FILE and PIP_CERT."
            if "certificate" in error
            else "Set HTTPS_PROXY and HTTP_PROXY if this network has a proxy."
        )
        if needs.made:
            cure += " A cluster that was made needs no registry to start."
        yield warning("registries", f"{name} ({host}): {error}", cure)

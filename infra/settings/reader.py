"""`pulumi.Config` with errors that quote the value and say what to do."""

import difflib
import json
import math
import re
from collections.abc import Collection
from typing import Any, NoReturn, TypeVar

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from ..cluster.quantities import is_size

_Choice = TypeVar("_Choice", bound=str)

_LEAST_VOLUME = 2**20
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


class Reader:
    """Reads the keys of the namespace `dlstack`, and where they are not set, of the project's own.

    In a project of another name that is where Pulumi.yaml's defaults arrive.
    """

    def __init__(self) -> None:
        self._configs = {name: pulumi.Config(name) for name in ("dlstack", pulumi.get_project())}

    def refuse_all_but(self, known: Collection[str]) -> None:
        """Catch misspelt keys: otherwise the default would be used without a word."""
        for key in sorted({**get_config_env(), **CONFIG.get()}):
            namespace, _, name = key.partition(":")
            if namespace not in self._configs or name in known:
                continue
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean dlstack:{near[0]}?" if near else f"Known: {', '.join(known)}."
            if name.partition(".")[0] in known:
                hint = f"A part of a key needs --path: 'pulumi config set --path {key} VALUE'."
            raise pulumi.RunError(
                f"'{key}' is not a configuration key. {hint} "
                f"Remove it with 'pulumi config rm {key}'."
            )

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise the error of a value that can't be used. `problem` ends without a full stop."""
        raise pulumi.RunError(f"dlstack:{key} '{self.text(key)}' {problem}.")

    def text(self, key: str, default: str = "") -> str:
        """Return a value as it is written; what is empty counts as not set."""
        return next(filter(None, (one.get(key) for one in self._configs.values())), default)

    def required(self, key: str, what: str) -> str:
        """Return a value that every stack has to set; `what` says what it is."""
        value = self.text(key)
        if not value:
            raise pulumi.RunError(
                f"dlstack:{key} is not set: {what}. Run 'pulumi config set dlstack:{key} VALUE'."
            )
        return value

    def raw(self, key: str) -> str:
        """Return a value as it is written, encrypted in the configuration or not."""
        names = (f"{namespace}:{key}" for namespace in self._configs)
        return next(filter(None, (str(pulumi.runtime.get_config(one) or "") for one in names)), "")

    def is_secret(self, key: str) -> bool:
        """Say whether a value, or one in it, is encrypted in the stack's configuration."""
        return any(pulumi.runtime.is_config_secret(f"{name}:{key}") for name in self._configs)

    def secret(self, key: str) -> str:
        """Return a secret value in the clear; it is wrapped again where it becomes an input.

        Raises:
            pulumi.RunError: it lies unencrypted in the stack's configuration, and so in its state.
        """
        for namespace in self._configs:
            name = f"{namespace}:{key}"
            value = str(pulumi.runtime.get_config(name) or "")
            if value and not pulumi.runtime.is_config_secret(name):
                raise pulumi.RunError(
                    f"{name} is not encrypted in the stack's configuration. Run 'pulumi config set "
                    f"--secret {name}' and enter it, and change it where it was made: whoever has "
                    "read the configuration or the stack's state knows it."
                )
            if value:
                return value
        return ""

    def choice(self, key: str, default: _Choice, choices: tuple[_Choice, ...]) -> _Choice:
        """Return a value that is one of `choices`."""
        value = self.text(key, default)
        for one in choices:
            if one == value:
                return one
        self.fail(key, f"is unknown. Use one of: {', '.join(choices)}")

    def integer(self, key: str, *, low: int, high: int | None = None) -> int | None:
        """Return a whole number from `low` to `high`, None unless set."""
        value = self.text(key)
        if not value:
            return None
        allowed = f"{low} to {high}" if high else f"{low} or more"
        if not re.fullmatch(r"\d+", value) or not low <= int(value) <= (high or int(value)):
            self.fail(key, f"is not a whole number in range. Use {allowed}")
        return int(value)

    def fraction(self, key: str) -> float | None:
        """Return a number from 0 to 1, None unless set."""
        text = self.text(key)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            self.fail(key, "is out of range. Use a number from 0 to 1, as 0.95")
        return value

    def seconds(self, key: str, default: int) -> int:
        """Return a duration, written as seconds or like `1h30m`."""
        text = self.text(key, str(default))
        match = _DURATION.fullmatch(text)
        parts = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
        hours, minutes, seconds = parts
        total = hours * 3600 + minutes * 60 + seconds
        if not total:
            self.fail(key, "is not a duration. Use seconds, or hours and minutes as in '1h30m'")
        return total

    def size(self, key: str, default: str) -> str:
        """Return a size of a volume, as Kubernetes writes it."""
        value = self.text(key, default)
        if not is_size(value, _LEAST_VOLUME):
            self.fail(key, "is not a size of 1Mi or more. Use a number with a unit, as '10Gi'")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return whether a value is `true`."""
        value = self.text(key, json.dumps(default))
        if value not in ("true", "false"):
            self.fail(key, "is neither 'true' nor 'false'. Use one of them")
        return value == "true"

    def objects(self, key: str, advice: str) -> dict[str, Any]:
        """Return a value that is an object of names and values, empty unless set."""
        found = self._document(key, "{}")
        if not isinstance(found, dict):
            self.fail(key, f"is not an object of names and values. {advice}")
        return found

    def items(self, key: str, advice: str) -> list[Any]:
        """Return a value that is a list, empty unless set."""
        found = self._document(key, "[]")
        if not isinstance(found, list):
            self.fail(key, f"is not a list. {advice}")
        return found

    def numbers(self, key: str) -> dict[str, float]:
        """Return a value that is an object of names and numbers, empty unless set."""
        advice = f"Set one with 'pulumi config set --path dlstack:{key}.NAME NUMBER'"
        found = {}
        for name, value in sorted(self.objects(key, advice).items()):
            try:
                # Text, as --path writes fractions; but true is no 1.
                found[name] = math.nan if isinstance(value, bool) else float(value)
            except (TypeError, ValueError):
                found[name] = math.nan
            if not name or not math.isfinite(found[name]):
                self.fail(key, f"has '{name}' with a value that is not a number. {advice}")
        return found

    def _document(self, key: str, default: str) -> Any:
        """Return what a value says as JSON; None if it is none."""
        try:
            return json.loads(self.text(key, default))
        except json.JSONDecodeError:
            return None

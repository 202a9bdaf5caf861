"""The URLs of places in an object store: `s3://bucket/prefix`."""

import re
from dataclasses import dataclass

from store.errors import BadUrl

_SCHEME = "s3://"
_URL = re.compile(rf"{_SCHEME}(?P<bucket>[^/\s]+)(?:/(?P<prefix>.*))?")


_MOST_BYTES = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def unfit_for_a_key(key: str) -> str:
    """Return why no object can have this key, as `it is longer than …`; empty if one can.

    Some stores take control characters in a key, and then can't delete the object.
    """
    try:
        count = len(key.encode())
    except UnicodeEncodeError:
        return "it is not text in UTF-8"
    if _CONTROL.search(key):
        return "it has a control character"
    return f"it is longer than {_MOST_BYTES} bytes" if count > _MOST_BYTES else ""


def is_s3(text: str) -> bool:
    """Say whether `text` is meant as a URL of an object store, and not as a local folder."""
    return text.startswith(_SCHEME)


@dataclass(frozen=True)
class S3Url:
    """An object, or all below a prefix: `s3://bucket/prefix`, without a slash at the end."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str, name: str = "") -> "S3Url":
        """Read a URL. Slashes around the prefix don't count.

        Args:
            text: the URL.
            name: where it was given, as in `--data_url`.

        Raises:
            BadUrl: it has another form.
        """
        match = _URL.fullmatch(text)
        if match is None:
            given = f"{name}={text!r}" if name else repr(text)
            raise BadUrl(f"{given} is not a URL of an object store. Use s3://bucket/prefix.")
        return cls(match["bucket"], (match["prefix"] or "").strip("/"))

    def __truediv__(self, path: str) -> "S3Url":
        return S3Url(self.bucket, f"{self.prefix}/{path}" if self.prefix else path)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def folder_prefix(self) -> str:
        """What the keys below this URL begin with. It leaves out `prefix-other`."""
        return f"{self.prefix}/" if self.prefix else ""

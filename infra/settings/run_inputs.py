"""What the user gives a training run: data set, code folder, boot file and its parameters."""

import json
import re
import unicodedata
from pathlib import Path

import pulumi

from store.access import Access
from store.errors import BadUrl
from store.urls import S3Url, is_s3

from .reader import Reader

CODE_DIR = "training/mnist"
BOOT_FILE = "train_mnist.py"
"""Used unless others are set: the example."""

_RESERVED_PARAMETERS = ("data_url", "train_url")

STACK_SCHEME = "stack:"
"""What a model of another stack begins with, in `dlstack:model`."""


def model(reader: Reader) -> str | None:
    """Return where a model is that is copied and served in place of one that is trained."""
    found = reader.text("model")
    if not found:
        return None
    if found.startswith(STACK_SCHEME):
        if not re.fullmatch(STACK_SCHEME + r"[A-Za-z0-9][-A-Za-z0-9_.]*(/[1-9]\d*)?", found):
            reader.fail(
                "model",
                "does not name a model of another stack. Write it like 'stack:NAME' (its newest "
                "version) or 'stack:NAME/VERSION'",
            )
    elif is_s3(found):
        if not _is_place(found):
            reader.fail("model", "is not the URL of a model. Use s3://BUCKET/PREFIX")
    elif re.match(r"[A-Za-z][-A-Za-z0-9+.]*:", found) and not Path(found).exists():
        reader.fail(
            "model",
            "is no place that dlstack knows. Use 's3://BUCKET/PREFIX', 'stack:NAME/VERSION' or a "
            "folder of this machine",
        )
    return found.rstrip("/")


def data_dir(
    reader: Reader, store: Access | None, *, must_be_set: bool, must_be_there: bool
) -> str:
    """Return the folder of the data set, or its `s3://` URL in `store`."""
    if not must_be_set and not reader.text("dataDir"):
        return ""
    found = reader.required(
        "dataDir",
        "a folder with the data set, or its s3:// URL ('make data' fetches MNIST into data/mnist)",
    )
    if is_s3(found):
        if not _is_place(found):
            reader.fail("dataDir", "is not the URL of a data set. Use s3://BUCKET/PREFIX")
        if store is None and must_be_there:
            reader.fail(
                "dataDir",
                "lies in an object store, but none is configured. Set dlstack:s3Region (AWS) or "
                "dlstack:s3Endpoint, or use a local folder",
            )
    # A folder that is not here may be in the bucket already (`program.kept_data`).
    return found.rstrip("/")


def _is_place(url: str) -> bool:
    """Say whether `url` has the form s3://bucket/prefix, in one line."""
    try:
        S3Url.parse(url)
    except BadUrl:
        return False
    return url.isprintable() and url == url.strip()


def code(reader: Reader, *, must_be_there: bool) -> tuple[Path, str]:
    """Return the code folder, and the boot file as a path relative to it."""
    code_dir = Path(reader.text("codeDir", CODE_DIR))
    boot_file = reader.text("bootFile", BOOT_FILE)
    if must_be_there and not code_dir.is_dir():
        raise pulumi.RunError(
            f"dlstack:codeDir '{code_dir}' is not a folder. Set it to the folder of your code."
        )
    if Path(boot_file).is_absolute() or ".." in Path(boot_file).parts:
        reader.fail("bootFile", "leads out of the code folder. Use a path relative to it")
    if must_be_there and not (code_dir / boot_file).is_file():
        raise pulumi.RunError(
            f"dlstack:bootFile '{boot_file}' is not in the code folder '{code_dir}'. "
            "Put it there, or set dlstack:bootFile."
        )
    # As it is sent: './a.py' and 'sub\\a.py' of Windows are other spellings of the same run.
    return code_dir, unicodedata.normalize("NFC", Path(boot_file).as_posix())


def parameters(reader: Reader) -> dict[str, str]:
    """Return flag name -> value of what the boot file gets beside the two URLs."""
    key = "runParameters"
    if reader.is_secret(key):
        raise pulumi.RunError(
            f"dlstack:{key} has a secret value, which would stand in the Job's command line and in "
            f"the model's manifest. Remove it ('pulumi config rm --path dlstack:{key}.NAME'), and "
            "give it to the boot file as a variable of its environment: "
            "'pulumi config set --secret --path dlstack:secretEnv.NAME'."
        )
    advice = f"Set one with 'pulumi config set --path dlstack:{key}.NAME VALUE'"
    found = {}
    for name, value in sorted(reader.objects(key, advice).items()):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name):
            reader.fail(key, f"has '{name}', which is not the name of a flag. {advice}")
        if name in _RESERVED_PARAMETERS:
            reader.fail(key, f"has '{name}', which dlstack sets itself. Remove it")
        if not isinstance(value, str | int | float):
            reader.fail(
                key, f"has '{name}' with a value that is neither a text nor a number. {advice}"
            )
        # As JSON would write it: true, not Python's True.
        found[name] = value if isinstance(value, str) else json.dumps(value)
    return found

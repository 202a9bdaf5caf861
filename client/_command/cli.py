"""The command `python -m client`: arguments in, answers out.

Answers go to standard output and everything else to standard error. The exit status is 0 when all
was answered, 1 when something was not, 2 when the arguments make no sense.
"""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, NoReturn

from .._calls.client import Client
from .._inputs.labels import read_labels
from .._inputs.paths import count, find_files
from .._settings.settings import from_surroundings
from ..about import About
from ..errors import FileError, PredictionError, SettingsError
from ..results import ExamplePrediction
from .arguments import PROGRAM, parser
from .output import (
    about_text,
    answer_text,
    answers_json,
    metadata_json,
    printable,
    status_json,
)
from .progress import Progress
from .writing import AnswerFile

#: What shells give a process that Ctrl-C ended.
_INTERRUPTED = 130

#: Classes without a name that are listed at most.
_SHOWN = 10


def run() -> NoReturn:
    """Be the process: set up its streams, run the command, and end with its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be valid UTF-8, and terminals need not be able to show a label:
        # the former are printed as the bytes they are, the latter as `\u...`.
        codecs.register_error("dlstack", _as_it_can)
        sys.stdout.reconfigure(errors="dlstack")
    if not sys.warnoptions:
        import warnings

        # Pillow's, of pictures that are large or a little damaged: they are read all the same.
        warnings.simplefilter("ignore")
    # gRPC's C core logs refused connections on its own, over what is said here.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = parser().parse_args(argv)
    try:
        if sys.stdout is None:
            raise _Unwritable("it is closed")
        status = _COMMANDS[arguments.command](arguments)
        # Here and not at the end of the process, where a failure could not be caught.
        _print("", flush=True)
        return status
    except _Unwritable as exc:
        # Whoever read the answers (`| head`) has gone, and needs no word. What is left in the
        # buffer Python would try to write, and complain, once more at its end.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(exc.__cause__, BrokenPipeError):
            _say(f"{PROGRAM}: Cannot write to standard output ({exc}). Give a place with room.")
        return 1
    except PredictionError as exc:
        _say(f"{PROGRAM}: {exc}")
        return 2 if isinstance(exc, SettingsError) else 1
    except KeyboardInterrupt:
        return _INTERRUPTED


class _Unwritable(Exception):
    """Standard output takes no answers."""


def _connect(arguments: argparse.Namespace, *, retry: bool = True) -> Client:
    settings = from_surroundings(vars(arguments))
    if not retry:
        settings = settings.without_default_retries()
    if arguments.verbose:
        for line in settings.lines():
            _say(line)
    return Client(**settings.arguments())


def _predict(arguments: argparse.Namespace) -> int:
    if bool(arguments.inputs) == bool(arguments.text):
        arguments.refuse("give either files or --text")
    if arguments.to and arguments.json:
        arguments.refuse("give either --to or --json")
    labels = read_labels(arguments.labels) if arguments.labels else {}
    answers: list[ExamplePrediction] = []
    errors: list[PredictionError] = []
    with ExitStack() as stack:
        client = stack.enter_context(_connect(arguments))
        file = stack.enter_context(AnswerFile(arguments.to)) if arguments.to else None
        progress = stack.enter_context(_progress(arguments))

        def say(text: str) -> None:
            progress.hide()
            _say(text)

        def complain(error: PredictionError) -> None:
            # Files' errors name them; those of the server don't know them.
            what = "" if isinstance(error, FileError) else f"{error.source!r}: "
            say(f"{PROGRAM}: {what}{error}")
            progress.step()
            if file is None:
                errors.append(error)
            else:
                file.error(error)

        try:
            for answer in _ask(client, arguments, labels, complain, say):
                if file is not None:
                    file.answer(answer)
                elif arguments.json:
                    answers.append(answer)
                else:
                    _line(answer_text(answer))
                if arguments.verbose and not progress.done:
                    say(f"signature = {answer.signature} (called)")
                progress.step()
        except BaseException:
            if file is not None and file.rows:
                say(f"{file.rows:,} rows so far are in {arguments.to + '.part'!r}.")
            raise
    if file is not None:
        failed = f", {file.errors:,} of them errors" if file.errors else ""
        _say(f"{file.rows:,} rows are in {arguments.to!r}{failed}.")
        return 1 if file.errors else 0
    if arguments.json:
        _print_json(answers_json(client.model, answers, errors))
    return 1 if errors else 0


def _ask(
    client: Client,
    arguments: argparse.Namespace,
    labels: Mapping[int, str],
    complain: Callable[[PredictionError], None],
    say: Callable[[str], None],
) -> Iterator[ExamplePrediction]:
    """Ask for the answers to files or texts."""
    if arguments.text:
        return client.predict_texts(
            arguments.text,
            input=arguments.input,
            output=arguments.output,
            top=arguments.top,
            labels=labels,
            rows=arguments.rows,
            on_error=complain,
            on_note=say,
        )
    return client.predict_files(
        arguments.inputs,
        input=arguments.input,
        output=arguments.output,
        scale=arguments.scale,
        invert=arguments.invert == "yes",
        top=arguments.top,
        labels=labels,
        rows=arguments.rows,
        on_error=complain,
        on_note=say,
    )


def _progress(arguments: argparse.Namespace) -> Progress:
    """Return what shows how far the command is, where the answers themselves don't."""
    silent = not arguments.to and not arguments.json and sys.stdout.isatty()
    if silent or sys.stderr is None:
        return Progress(None, shown=False)
    if arguments.text:
        return Progress(len(arguments.text))
    return Progress(count(find_files(arguments.inputs)))


def _labels(arguments: argparse.Namespace) -> int:
    labels = read_labels(arguments.file)
    # Not a set of all: a single mistyped class may be far above the others.
    absent = list(islice((key for key in range(max(labels)) if key not in labels), _SHOWN + 1))
    if arguments.json:
        classes = [{"class": key, "label": name} for key, name in sorted(labels.items())]
        _print_json({"file": arguments.file, "labels": classes})
    else:
        for key, name in sorted(labels.items()):
            _line(f"{key}: {name}")
    if absent:
        shown = ", ".join(map(str, absent[:_SHOWN])) + (", ..." if len(absent) > _SHOWN else "")
        _say(f"{PROGRAM}: {arguments.file!r} has no name for class {shown}. Add a line for each.")
        return 1
    return 0


def _status(arguments: argparse.Namespace) -> int:
    with _connect(arguments) as client:
        status = client.status()
    if arguments.json:
        _print_json(status_json(status))
        return 0
    for version in status.versions:
        error = "" if version.error_code == "OK" else f" ({version.error_code}: "
        error += f"{' '.join(version.error_message.split())})" if error else ""
        _line(f"{status.model} version {version.version}: {version.state}{error}")
    return 0


def _metadata(arguments: argparse.Namespace) -> int:
    with _connect(arguments) as client:
        metadata = client.metadata()
    if arguments.json:
        _print_json(metadata_json(metadata))
        return 0
    about = metadata.about or About()
    _line(f"{metadata.model} version {metadata.version}" + (f": {about.title}" * bool(about.title)))
    for signature in metadata.signatures.values():
        _line(f"  {signature.name}")
        for spec in signature.inputs.values():
            _line(f"    takes {spec.name}: {spec}{about_text(about.input(spec.name))}")
        for spec in signature.outputs.values():
            _line(f"    gives {spec.name}: {spec}{about_text(about.output(spec.name))}")
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    # Threads and numpy, which the other commands may not need.
    from .bench import bench, bench_json, bench_text, load

    with _connect(arguments, retry=False) as client:
        metadata = client.metadata()
        signature, inputs = load(metadata, client.signature, arguments.file, arguments.rows, _say)
        result = bench(
            client,
            signature,
            inputs,
            callers=arguments.concurrency,
            requests=arguments.requests,
            seconds=arguments.duration,
        )
    if arguments.json:
        _print_json(bench_json(result))
    else:
        for line in bench_text(result).splitlines():
            _line(line)
    return _INTERRUPTED if result.interrupted else 1 if result.errors else 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "predict": _predict,
    "status": _status,
    "metadata": _metadata,
    "bench": _bench,
    "labels": _labels,
}


def _print_json(value: Any) -> None:
    _print(json.dumps(value, indent=2) + "\n")


def _line(text: str) -> None:
    _print(printable(text) + "\n")


def _print(text: str, *, flush: bool = False) -> None:
    try:
        print(text, end="", flush=flush)
    except OSError as exc:
        raise _Unwritable(exc.strerror) from exc


def _say(text: str) -> None:
    if sys.stderr is not None:  # Closed; print() would take standard output instead.
        print(printable(text), file=sys.stderr)


def _as_it_can(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ._client import Client
from ._exceptions import FileError, PredictionError, SettingsError
from ._labels import read_labels
from ._output import answer_text, answers_json, metadata_json, printable, status_json
from ._settings import from_surroundings
from ._types import ExamplePrediction

#: As it was called: by the installed command, or as a module.
PROGRAM = "dlstack" if Path(sys.argv[0]).stem == "dlstack" else f"python -m {__package__}"

_EPILOG = """\
All that is listed under "server and model" comes from the flags, else from DLSTACK_HOST,
DLSTACK_CLIENT_KEY and so on, else (host, port, model) from `pulumi stack output` of the current
folder. --verbose says which. The token has no flag: a command line is there for all to read.
MAX_RESPONSE_TIME = 3000 (ms) of the managed service's client is --timeout 3.
"""


def run() -> NoReturn:
    """Be the process: set up its streams, run the command, and end with its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be valid UTF-8, and terminals need not be able to show a label:
        # the former are printed as the bytes they are, the latter as `\\u...`.
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
    arguments = _parser().parse_args(argv)
    try:
        if sys.stdout is None:
            raise _Unwritable("it is closed")
        status: int = arguments.run(arguments)
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
        return 130


class _Unwritable(Exception):
    """Standard output takes no answers."""


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line, not after ten of usage."""

    def error(self, message: str) -> NoReturn:
        _say(f"{self.prog}: {message}. `{self.prog} --help` tells more.")
        sys.exit(2)


def _parser() -> _Parser:
    printing = _Parser(add_help=False)
    output = printing.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object (default: text)")

    common = _Parser(add_help=False, parents=[printing])
    server = common.add_argument_group("server and model")
    server.add_argument("--host", help="name or address of the server (default: see below)")
    server.add_argument(
        "--port",
        type=int,
        help="its port (default: the stack's, else 8500 for grpc, 8501 for rest)",
    )
    server.add_argument(
        "--transport", choices=("grpc", "rest"), help="how to talk to it (default: grpc)"
    )
    server.add_argument("--model", help="name the server has the model under (default: see below)")
    server.add_argument("--version", type=int, help="of the model (default: the highest loaded)")
    server.add_argument(
        "--label", help="the version that the server gives this label, e.g. stable (default: none)"
    )
    server.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="for a request, in seconds (default: 10)",
    )
    server.add_argument(
        "--retries",
        type=int,
        metavar="N",
        help="how often to try again a server that is unavailable (default: 3)",
    )
    server.add_argument(
        "--tls",
        action="store_true",
        default=None,
        help="encrypt, and check the server's certificate (default: with one of the next three)",
    )
    server.add_argument(
        "--ca", metavar="FILE", help="PEM authorities of the server (default: well-known ones)"
    )
    server.add_argument(
        "--client-cert", metavar="FILE", help="PEM certificate of this client (default: none)"
    )
    server.add_argument(
        "--client-key", metavar="FILE", help="PEM key of this client (default: none)"
    )
    server.add_argument(
        "--token-file",
        metavar="FILE",
        help="file that holds the token to be let in with (default: DLSTACK_TOKEN's value, if any)",
    )
    server.add_argument(
        "--verbose", action="store_true", help="say where each setting is from (default: no)"
    )

    parser = _Parser(
        prog=PROGRAM,
        description="Ask a TensorFlow Serving server for predictions.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., int], text: str) -> _Parser:
        result = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )
        result.set_defaults(run=run, refuse=result.error)
        return result

    predict = command("predict", _predict, "what the model says to pictures, texts or tensors")
    predict.add_argument(
        "inputs",
        nargs="*",
        metavar="FILE",
        help="a picture, a folder of them, an array (.npy), tensors (.json), texts (.txt, one a "
        "line), or - for one of these on standard input",
    )
    predict.add_argument(
        "--text",
        action="append",
        metavar="TEXT",
        help="a text for a model that takes texts, instead of files; may be repeated",
    )
    _add_signature(predict)
    predict.add_argument(
        "--top",
        type=_positive,
        default=0,
        metavar="K",
        help="add the K most probable classes, from a signature that has them (default: none)",
    )
    predict.add_argument(
        "--labels", metavar="FILE", help="names of the classes, a line `id:name` (default: none)"
    )
    predict.add_argument(
        "--input", metavar="KEY", help="the input that files go to (default: the only one)"
    )
    predict.add_argument(
        "--output",
        metavar="KEY",
        help="the output that is the answer, or with --top the one that is ranked (default: "
        "predictions or all; probabilities is ranked)",
    )
    predict.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="make dark on light into light on dark (default: auto, by the picture's border)",
    )
    command("status", _status, "which versions of the model the server has")
    command("metadata", _metadata, "what the model takes and gives")
    bench = command("bench", _bench, "how fast the server answers: a short load test of it")
    bench.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="whose first example is sent, as for predict (default: made-up numbers)",
    )
    _add_signature(bench)
    bench.add_argument(
        "--concurrency",
        type=_between(1, 256),
        default=4,
        metavar="N",
        help="callers, each sending one request after the other, 1 to 256 (default: 4)",
    )
    bench.add_argument(
        "--rows", type=_positive, default=1, metavar="N", help="in each request (default: 1)"
    )
    bench.add_argument(
        "--requests",
        type=_positive,
        default=1000,
        metavar="N",
        help="end after so many (default: 1000)",
    )
    bench.add_argument(
        "--duration",
        type=_between(0.1, 600, float),
        default=10.0,
        metavar="SECONDS",
        help="or end after this time, at most 600 (default: 10)",
    )
    labels = commands.add_parser(
        "labels",
        help="what a labels file names, and what it leaves out",
        description="What a labels file names, and what it leaves out. No server is asked.",
        parents=[printing],
    )
    labels.set_defaults(run=_labels)
    labels.add_argument("file", metavar="FILE", help="lines `id:name`, UTF-8")
    return parser


def _connect(arguments: argparse.Namespace, *, retry: bool = True) -> Client:
    settings = from_surroundings(vars(arguments))
    if not retry:
        settings = settings.without_default_retries()
    if arguments.verbose:
        for line in settings.lines():
            _say(line)
    return settings.connect()


def _predict(arguments: argparse.Namespace) -> int:
    if bool(arguments.inputs) == bool(arguments.text):
        arguments.refuse("give either files or --text")
    labels = read_labels(arguments.labels) if arguments.labels else {}
    unreadable: list[FileError] = []

    def complain(error: FileError) -> None:
        unreadable.append(error)
        _say(f"{PROGRAM}: {error}")

    answers: list[ExamplePrediction] = []
    with _connect(arguments) as client:
        if arguments.text:
            found = client.predict_texts(
                arguments.text,
                input=arguments.input,
                output=arguments.output,
                top=arguments.top,
                labels=labels,
            )
        else:
            found = client.predict_files(
                arguments.inputs,
                input=arguments.input,
                output=arguments.output,
                invert=arguments.invert,
                top=arguments.top,
                labels=labels,
                on_error=complain,
            )
        for answer in found:
            answers.append(answer)
            if not arguments.json:
                _line(answer_text(answer))
    if arguments.verbose and answers:
        _say(f"signature = {answers[0].signature} (called)")
    if arguments.json:
        _print_json(answers_json(client.model, answers))
    inverted = [answer.source for answer in answers if answer.inverted]
    if inverted and arguments.invert == "auto":
        which = inverted[0] if len(inverted) == 1 else f"{len(inverted)} of {len(answers)} pictures"
        _say(f"Inverted {which}: dark on light. --invert no takes pictures as they are.")
    return 1 if unreadable else 0


def _labels(arguments: argparse.Namespace) -> int:
    labels = read_labels(arguments.file)
    absent = sorted(set(range(max(labels) + 1)) - labels.keys())
    if arguments.json:
        classes = [{"class": key, "label": name} for key, name in sorted(labels.items())]
        _print_json({"file": arguments.file, "labels": classes})
    else:
        for key, name in sorted(labels.items()):
            _line(f"{key}: {name}")
    if absent:
        shown = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
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
    _line(f"{metadata.model} version {metadata.version}")
    for signature in metadata.signatures.values():
        _line(f"  {signature.name}")
        for spec in signature.inputs.values():
            _line(f"    takes {spec.name}: {spec}")
        for spec in signature.outputs.values():
            _line(f"    gives {spec.name}: {spec}")
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    # Threads and numpy, which the other commands may not need.
    from ._bench import bench, bench_json, bench_text, load

    with _connect(arguments, retry=False) as client:
        signature = client.choose_signature()
        result = bench(
            client,
            signature,
            load(signature, arguments.file, arguments.rows),
            callers=arguments.concurrency,
            requests=arguments.requests,
            seconds=arguments.duration,
        )
    if arguments.json:
        _print_json(bench_json(result))
    else:
        for line in bench_text(result).splitlines():
            _line(line)
    return 1 if result.errors else 0


def _print_json(value: Any) -> None:
    _print(json.dumps(value, indent=2) + "\n")


def _add_signature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--signature",
        help="what to call (default: predict_object, serving_default or the first by name)",
    )


def _between(low: float, high: float, kind: Callable[[str], float] = int) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = kind(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return number

    return read


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


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

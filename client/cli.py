"""The command `python -m client`: arguments in, answers out.

Answers go to standard output and everything else to standard error. The exit status is 0 when all
was answered, 1 when something was not, 2 when the arguments make no sense.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ._client import Client
from ._exceptions import FileError, PredictionError, SettingsError
from ._labels import read_labels
from ._output import answer_text, answers_json, metadata_json, status_json
from ._settings import from_surroundings
from ._types import ExamplePrediction

PROGRAM = "python -m client"

_EPILOG = """\
All that is listed under "server and model" comes from the flags, else from DLSTACK_HOST,
DLSTACK_CLIENT_KEY and so on, else (host, port, model) from `pulumi stack output` of the current
folder. --verbose says which. The token has no flag: a command line is there for all to read.
MAX_RESPONSE_TIME = 3000 (ms) of the managed service's client is --timeout 3.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    # gRPC's C core logs refused connections on its own, over what is said here.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        status: int = arguments.run(arguments)
        # Here and not at the end of the process, where a broken pipe could not be caught.
        sys.stdout.flush()
        return status
    except SettingsError as exc:
        _say(f"{PROGRAM}: {exc}")
        return 2
    except PredictionError as exc:
        _say(f"{PROGRAM}: {exc}")
        return 1
    except BrokenPipeError:
        # Whoever read the answers (`| head`) has gone; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    printing = argparse.ArgumentParser(add_help=False)
    output = printing.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object (default: text)")

    common = argparse.ArgumentParser(add_help=False, parents=[printing])
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

    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Ask a TensorFlow Serving server for predictions.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
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
        arguments.refuse("give either files or --text; --help lists what a file may be")
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
                print(answer_text(answer))
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
            print(f"{key}: {name}")
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
        print(f"{status.model} version {version.version}: {version.state}{error}")
    return 0


def _metadata(arguments: argparse.Namespace) -> int:
    with _connect(arguments) as client:
        metadata = client.metadata()
    if arguments.json:
        _print_json(metadata_json(metadata))
        return 0
    print(f"{metadata.model} version {metadata.version}")
    for signature in metadata.signatures.values():
        print(f"  {signature.name}")
        for spec in signature.inputs.values():
            print(f"    takes {spec.name}: {spec}")
        for spec in signature.outputs.values():
            print(f"    gives {spec.name}: {spec}")
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
        print(bench_text(result))
    return 1 if result.errors else 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


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


def _say(text: str) -> None:
    print(text, file=sys.stderr)

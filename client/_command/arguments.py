"""The arguments of the command: names, defaults and help texts. What they mean is in `cli`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .output import printable

#: As it was called: by the installed command, or as a module.
_PACKAGE = __package__.partition(".")[0]
PROGRAM = "dlstack" if Path(sys.argv[0]).stem == "dlstack" else f"python -m {_PACKAGE}"

_EPILOG = """\
Each setting under "server and model" comes from its flag, else from a variable (DLSTACK_HOST,
DLSTACK_CLIENT_KEY and so on), else (host, port, model) from the outputs of a deployed stack: that
of the Pulumi project of the current folder, or the one of `make up`. --verbose says which. The
token has no flag, since everybody can read a command line. MAX_RESPONSE_TIME = 3000 (ms) of the
managed service's client is --timeout 3.
"""


class _Version(argparse.Action):
    """Prints the version: that of the installed package, or of the repository around this one."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        package = Path(__file__).resolve().parents[1]
        files = (package / "VERSION", package.parent / "VERSION")
        version = next(file for file in files if file.is_file()).read_text().strip()
        print(f"dlstack {version}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line, not after ten of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, printable(f"{self.prog}: {message}. `{self.prog} --help` tells more.") + "\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the name of the one that was called is in `command`."""
    printing = _Parser(add_help=False)
    output = printing.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object (default: text)")
    common = _Parser(add_help=False, parents=[printing])
    _add_server(common.add_argument_group("server and model"))

    result = _Parser(
        prog=PROGRAM,
        description="Ask a TensorFlow Serving server for predictions.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> _Parser:
        return commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )

    predict = command("predict", "what the model says to pictures, tables, texts or tensors")
    # What argparse cannot say by itself: files or texts.
    predict.set_defaults(refuse=predict.error)
    _add_inputs(predict)
    command("status", "which versions of the model the server has")
    command("metadata", "what the model takes and gives")
    _add_load(command("bench", "how fast the server answers: a short load test of it"))
    labels = commands.add_parser(
        "labels",
        help="what a labels file names, and what it leaves out",
        description="What a labels file names, and what it leaves out. No server is asked.",
        parents=[printing],
    )
    labels.add_argument("file", metavar="FILE", help="lines `id:name`, UTF-8")
    return result


def _add_server(server: argparse._ArgumentGroup) -> None:
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
        help="encrypt, and check the server's certificate (default: if a file below is given)",
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


def _add_inputs(predict: _Parser) -> None:
    predict.add_argument(
        "inputs",
        nargs="*",
        metavar="FILE",
        help="a picture, a folder of them, a table (.csv), an array (.npy), tensors (.json), texts "
        "(.txt, one a line), or - for one of these on standard input",
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
        help="show the K classes that the model is surest of (default: the answer alone)",
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
        "predictions, else the surest class, else all)",
    )
    predict.add_argument(
        "--to",
        metavar="FILE",
        help="write the answers there, as a table (.csv) or JSON lines (.jsonl), one for each "
        "example (default: standard output)",
    )
    predict.add_argument(
        "--rows",
        type=_positive,
        metavar="N",
        help="examples in one request at most; halved if the server takes no more (default: 256)",
    )
    predict.add_argument(
        "--scale",
        type=_scale,
        metavar="LOW..HIGH",
        help="values of black and white for a model that takes pixels, as 0..255; --scale=-1..1 "
        "with a minus (default: as the model says, else 0..1 for floats, which is said)",
    )
    predict.add_argument(
        "--invert",
        choices=("yes", "no"),
        default="no",
        help="make dark light and light dark, for a model that takes pixels (default: no)",
    )


def _add_load(bench: _Parser) -> None:
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


def _scale(text: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = (0.0, 0.0)
    if not dots or ends[0] == ends[1] or not all(map(math.isfinite, ends)):
        raise argparse.ArgumentTypeError(f"{text!r} is no range such as 0..1, 0..255 or -1..1")
    return ends


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number

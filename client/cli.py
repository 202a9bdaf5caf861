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
from ._exceptions import PictureError, PredictionError, SettingsError
from ._settings import from_surroundings
from ._types import ModelMetadata, ModelStatus, PicturePrediction, TensorSpec

PROGRAM = "python -m client"

_EPILOG = """\
Host, port, model, version, signature, transport and timeout come from the flags, else from
DLSTACK_HOST, DLSTACK_PORT and so on, else (host, port, model) from `pulumi stack output` of the
current folder. --verbose says which. MAX_RESPONSE_TIME = 3000 (ms) of the managed service's
client is --timeout 3.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    # gRPC's C core logs refused connections on its own, over what is said here.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return _run(arguments)
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
    common = argparse.ArgumentParser(add_help=False)
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
    output = common.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object (default: text)")
    output.add_argument(
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
        result.set_defaults(run=run)
        return result

    predict = command("predict", _predict, "what the model says to pictures")
    predict.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="a file, or a folder of them"
    )
    predict.add_argument(
        "--signature",
        help="what to call (default: predict_object, serving_default or the first by name)",
    )
    predict.add_argument(
        "--top",
        type=_positive,
        default=0,
        metavar="K",
        help="add the K most probable classes, from a signature that has them (default: none)",
    )
    predict.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="make dark on light into light on dark (default: auto, by the picture's border)",
    )
    command("status", _status, "which versions of the model the server has")
    command("metadata", _metadata, "what the model takes and gives")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    settings = from_surroundings(vars(arguments))
    if arguments.verbose:
        for line in settings.lines():
            _say(line)
    with settings.connect() as client:
        status: int = arguments.run(client, arguments)
        sys.stdout.flush()
        return status


def _predict(client: Client, arguments: argparse.Namespace) -> int:
    unreadable: list[PictureError] = []

    def complain(error: PictureError) -> None:
        unreadable.append(error)
        _say(f"{PROGRAM}: {error}")

    answers: list[PicturePrediction] = []
    for answer in client.predict_pictures(
        arguments.pictures, invert=arguments.invert, top=arguments.top, on_error=complain
    ):
        answers.append(answer)
        if not arguments.json:
            print(_text(answer))
    if arguments.verbose and answers:
        _say(f"signature = {answers[0].signature} (called)")
    if arguments.json and answers:
        first = answers[0]
        _print_json(
            {
                "model": first.model,
                "version": first.version,
                "signature": first.signature,
                "predictions": [_prediction_json(answer) for answer in answers],
            }
        )
    inverted = [answer.source for answer in answers if answer.inverted]
    if inverted and arguments.invert == "auto":
        which = inverted[0] if len(inverted) == 1 else f"{len(inverted)} of {len(answers)} pictures"
        _say(f"Inverted {which}: dark on light. --invert no takes pictures as they are.")
    return 1 if unreadable else 0


def _status(client: Client, arguments: argparse.Namespace) -> int:
    status = client.status()
    if arguments.json:
        _print_json(_status_json(status))
        return 0
    for version in status.versions:
        error = "" if version.error_code == "OK" else f" ({version.error_code}: "
        error += f"{' '.join(version.error_message.split())})" if error else ""
        print(f"{status.model} version {version.version}: {version.state}{error}")
    return 0


def _metadata(client: Client, arguments: argparse.Namespace) -> int:
    metadata = client.metadata()
    if arguments.json:
        _print_json(_metadata_json(metadata))
        return 0
    print(f"{metadata.model} version {metadata.version}")
    for signature in metadata.signatures.values():
        print(f"  {signature.name}")
        for spec in signature.inputs.values():
            print(f"    takes {spec.name}: {spec}")
        for spec in signature.outputs.values():
            print(f"    gives {spec.name}: {spec}")
    return 0


def _text(answer: PicturePrediction) -> str:
    said = answer.prediction
    text = f"{answer.source}: {said if isinstance(said, (int, str)) else json.dumps(said)}"
    if answer.scores:
        text += "  " + ", ".join(f"{s.class_} {s.probability:.2%}" for s in answer.scores)
    return text


def _prediction_json(answer: PicturePrediction) -> dict[str, Any]:
    result = {
        "source": answer.source,
        "prediction": answer.prediction,
        "inverted": answer.inverted,
    }
    if answer.scores:
        result["scores"] = [
            {"class": score.class_, "probability": score.probability} for score in answer.scores
        ]
    return result


def _status_json(status: ModelStatus) -> dict[str, Any]:
    return {
        "model": status.model,
        "versions": [
            {
                "version": version.version,
                "state": version.state,
                "error_code": version.error_code,
                "error_message": version.error_message,
            }
            for version in status.versions
        ],
    }


def _metadata_json(metadata: ModelMetadata) -> dict[str, Any]:
    def spec_json(spec: TensorSpec) -> dict[str, Any]:
        return {"dtype": spec.dtype, "shape": None if spec.shape is None else list(spec.shape)}

    return {
        "model": metadata.model,
        "version": metadata.version,
        "signatures": {
            signature.name: {
                "inputs": {name: spec_json(spec) for name, spec in signature.inputs.items()},
                "outputs": {name: spec_json(spec) for name, spec in signature.outputs.items()},
            }
            for signature in metadata.signatures.values()
        },
    }


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def _say(text: str) -> None:
    print(text, file=sys.stderr)

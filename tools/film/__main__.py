"""`python -m tools.film`: `make up` and the page of the stack that it deploys, as one SVG."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from .recording import Recording

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "images" / "film.svg"
COMMAND = "make up"
RUN_SECONDS = 18.0
"""What `make up` takes in the film; longer waits are cut."""
END_SECONDS = 4.0
"""How long its last picture stays."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.film", description=__doc__)
    parser.add_argument("--output", type=Path, default=TARGET, help="default: docs/images/film.svg")
    parser.add_argument(
        "--recording",
        type=Path,
        help="a file with the terminal's part (asciicast): used if it is there, else written",
    )
    options = parser.parse_args()
    if problem := _missing():
        print(f"error: {problem}", file=sys.stderr)
        return 1
    # They need what was looked for.
    from . import page, svg, timeline

    recording = _recording(options.recording, svg.COLUMNS, svg.ROWS)
    moments = timeline.moments(recording, COMMAND, RUN_SECONDS)
    moments[-1] = moments[-1]._replace(seconds=END_SECONDS)
    url = _page_url()
    width, height = round(svg.WIDTH * svg.PAGE_SCALE), round(svg.HEIGHT * svg.PAGE_SCALE)
    looks = page.looks(url, width, height)
    options.output.write_text(svg.film(moments, looks, urlsplit(url).netloc))
    size = options.output.stat().st_size / 1024
    seconds = sum(moment.seconds for moment in moments) + sum(look.seconds for look in looks)
    print(f"{options.output}: {size:.0f} KiB, {seconds:.0f} s")
    return 0


def _missing() -> str:
    """Say what the film needs and is not there; empty: nothing."""
    if importlib.util.find_spec("websocket") is None:
        return "the package websocket-client is missing. `make setup` installs it."
    from tests.serving.gateway.chromium import PROGRAM

    if PROGRAM is None:
        return "no Chromium is on PATH. Install it, as by `apt-get install chromium`."
    return ""


def _recording(file: Path | None, columns: int, rows: int) -> Recording:
    if file is not None and file.exists():
        return Recording.read(file)
    environment = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(rows)}
    recording = Recording.of(COMMAND.split(), columns, rows, environment)
    if file is not None:
        recording.write(file)
    return recording


def _page_url() -> str:
    words = [sys.executable, "-m", "local", "run", "--", "pulumi", "stack", "output", "pageUrl"]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("error: no stack answers with its page. `make up` deploys one.")
    return done.stdout.strip().rstrip("/") + "/"


if __name__ == "__main__":
    sys.exit(main())

"""A `pulumi` for the tests: answers as its STATE file says, and writes down how it was called."""

import json
import os
import signal
import sys
import time
from pathlib import Path

PROGRAMS = ("pulumi", "pulumi-language-python", "pulumi-resource-kubernetes")


def install(folder: Path, **state: object) -> dict[str, str]:
    """Put the programs into `folder`; return the variables by which they are found.

    Args:
        state: `resources` of the stack (default: none), `name` of the stack, the lock's line
            (`locked`), its own `version`, or `waits` for an interrupt.
    """
    folder.mkdir(exist_ok=True)
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
        program.chmod(0o755)
    (folder / "state.json").write_text(json.dumps(state))
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def calls(folder: Path) -> list[list[str]]:
    """How it was called, without the questions that change nothing."""
    path = folder / "calls"
    listed = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    questions = (["stack", "ls"], ["version"])
    return [words for words in listed if words[:2] not in questions]


def main(folder: Path, words: list[str]) -> int:
    with (folder / "calls").open("a") as file:
        file.write(json.dumps(words) + "\n")
    state = json.loads((folder / "state.json").read_text())
    if words[:2] == ["stack", "ls"]:
        entry = {"name": state.get("name", "local"), "current": True}
        print(json.dumps([{**entry, "resourceCount": state.get("resources", 0)}]))
    elif words == ["version"]:
        print(state.get("version", "v3.246.0"))
    elif words[0] == "cancel":
        (folder / "state.json").write_text(json.dumps({**state, "locked": ""}))
    elif state.get("locked"):
        print("error: the stack is currently locked by 1 lock(s). Either …", file=sys.stderr)
        print(f"  file:///x/a.json: created by {state['locked']}", file=sys.stderr)
        return 1
    elif state.get("waits"):
        interrupts = []
        signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
        print("begun", file=sys.stderr, flush=True)
        # Not by `pause`, which would miss one that comes right before it.
        while not interrupts:
            time.sleep(0.01)
        # Longer than Python gives a child that it runs, and a second one would be counted.
        time.sleep(1)
        (folder / "interrupts").write_text(str(len(interrupts)))
        return 255
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parent, sys.argv[1:]))

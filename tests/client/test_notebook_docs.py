"""docs/notebook.md, cell by cell as a notebook runs them, in a folder of no project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.serving_fixtures import ModelServer

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")

_BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", re.DOTALL)

#: What a notebook does with a cell: it shows the value of the last expression, and `await` may
#: stand anywhere.
RUN = """
import ast, asyncio, inspect, json, sys

def run(code, names):
    tree = ast.parse(code)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.parse("_ = x").body[0]
        tree.body[-1].value = last.value
    ast.fix_missing_locations(tree)
    names.pop("_", None)
    found = eval(compile(tree, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(found):
        asyncio.run(found)
    shown = names.get("_")
    return shown._repr_html_() if hasattr(shown, "_repr_html_") else repr(shown)

names = {}
for code in json.load(sys.stdin):
    print("---", flush=True)
    shown = run(code, names)
    print("shown:", shown.splitlines()[0][:60], flush=True)
"""


def test_its_cells_run_in_any_folder(mnist: ModelServer, tmp_path: Path) -> None:
    # As `make setup` puts it into the environment, and as `make up` leaves the stack's state.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "dlstack_client").symlink_to(ROOT / "client")
    outputs = {"host": "127.0.0.1", "grpcPort": mnist.grpc_port, "modelName": "mnist"}
    state = tmp_path / "home" / "pulumi" / ".pulumi" / "stacks" / "dlstack" / "local.json"
    state.parent.mkdir(parents=True)
    resources = [{"type": "pulumi:pulumi:Stack", "outputs": outputs}]
    state.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}))
    (tmp_path / "notebooks").mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DLSTACK_", "PULUMI_"))
    }
    blocks = _BLOCK.findall(DOCS)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN],
        cwd=tmp_path / "notebooks",
        env={
            **kept,
            "DLSTACK_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(tmp_path / "site"),
            "HOME": str(tmp_path),
        },
        input=json.dumps([code for code, _ in blocks]),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    cells = done.stdout.split("---\n")[1:]
    for (code, printed), cell in zip(blocks, cells, strict=True):
        assert cell.startswith(printed), code
    shown = [cell.rpartition("shown: ")[2] for cell in cells]
    assert [text.startswith("<table>") for text in shown[:3]] == [True] * 3

"""A headless Chromium, driven through its DevTools protocol: enough to draw on a page and look."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

from tests.waiting import eventually

PROGRAM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


class Page:
    """One tab. Commands are those of https://chromedevtools.github.io/devtools-protocol/."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=60)
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        """Exceptions and errors on the page's console."""
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        self._socket.close()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded":
                entry = message["params"]["entry"]
                if entry["level"] == "error":
                    self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    def evaluate(self, expression: str) -> Any:
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"!!({expression})"):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        eventually(lambda: self._is_at(url))

    def _is_at(self, url: str) -> bool:
        there = f"location.href === {json.dumps(url)} && document.readyState === 'complete'"
        try:
            return bool(self.evaluate(there))
        except RuntimeError:
            # The page that was asked has gone meanwhile, or the next one is not there yet.
            return False

    def element(self, selector: str) -> int:
        """Return a node's number for commands of the domain DOM."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node: int = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        return node

    def give_files(self, selector: str, *paths: Path) -> None:
        """Choose files in a file input, as in the browser's own window for it."""
        files = [str(path) for path in paths]
        self.send("DOM.setFileInputFiles", nodeId=self.element(selector), files=files)

    def looks(self, width: int, height: int, *, touch: bool = False, **features: str) -> None:
        """Have a window of this size in CSS pixels, and what media queries ask for."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            **dict(width=width, height=height, deviceScaleFactor=1, mobile=touch),
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        media = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.send("Emulation.setEmulatedMedia", features=media)

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Press at the first point, move through the others, let go."""
        for kind, (x, y) in (
            ("mousePressed", points[0]),
            *(("mouseMoved", point) for point in points),
            ("mouseReleased", points[-1]),
        ):
            self.send(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=1,
                clickCount=1,
            )

    def touch(self, points: list[tuple[float, float]]) -> None:
        for kind, touches in (
            ("touchStart", [points[0]]),
            *(("touchMove", [point]) for point in points[1:]),
            ("touchEnd", []),
        ):
            self.send(
                "Input.dispatchTouchEvent",
                type=kind,
                touchPoints=[dict(x=x, y=y) for x, y in touches],
            )

    def press(self, key: str, code: int, times: int = 1) -> None:
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, *, window: bool = False) -> None:
        """Save a picture of the whole page, or of what the window shows of it."""
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=not window)
        path.write_bytes(base64.b64decode(answer["data"]))


def _tab(url: str) -> str | None:
    """Return where a browser's one tab takes commands, if it is there."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
    if not tabs:
        return None
    [tab] = tabs
    found: str = tab["webSocketDebuggerUrl"]
    return found


@contextmanager
def chromium(profile: Path, *, webgl: bool = False) -> Iterator[Page]:
    """Run the browser with a profile folder of its own and give its one tab.

    With `webgl`, pages draw as with a graphics card, computed by the processor.
    """
    assert PROGRAM is not None
    process = subprocess.Popen(
        [
            PROGRAM,
            "--headless=new",
            # Tests run as root in containers, where Chromium's sandbox can't.
            "--no-sandbox",
            *(["--enable-unsafe-swiftshader", "--use-angle=swiftshader"] if webgl else []),
            *([] if webgl else ["--disable-gpu"]),
            "--disable-dev-shm-usage",
            "--remote-debugging-port=0",
            "--remote-allow-origins=*",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port_file = profile / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        port = port_file.read_text().splitlines()[0]
        # It listens before it has opened its tab.
        page = Page(eventually(lambda: _tab(f"http://127.0.0.1:{port}/json/list")))
        try:
            yield page
        finally:
            page.close()
    finally:
        process.kill()
        process.wait()

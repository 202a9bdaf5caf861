"""Packages of a code folder: from an index on this machine, and without one the second time."""

import base64
import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.training.agent.test_run import PROLOGUE
from tests.training.conftest import Bucket

pytestmark = pytest.mark.slow


def wheel(name: str, version: str, code: str = "", needs: str = "") -> tuple[str, bytes]:
    """Name and content of a wheel with one module, whose name is the package's."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n{code}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return f"{name}-{version}-py3-none-any.whl", content.getvalue()


@dataclass
class Index:
    """A package index on this machine."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)
    server: Any = None

    def add(self, file: tuple[str, bytes]) -> str:
        """Add a file; return its SHA-256."""
        name, content = file
        folder = self.folder / name.split("-")[0].lower()
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        with (folder / "index.html").open("a") as page:
            page.write(f'<a href="{name}#sha256={digest}">{name}</a><br>\n')
        return digest

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    found = Index(tmp_path / "index")
    found.folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            found.asked.append(self.path)

    handler = partial(Handler, directory=str(found.folder))
    found.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    found.url = f"http://127.0.0.1:{found.server.server_port}/"
    Thread(target=found.server.serve_forever, daemon=True).start()
    yield found
    found.close()


@pytest.fixture
def job(bucket: Bucket) -> Bucket:
    bucket.put("data/part.txt", b"data")
    text = PROLOGUE + "import one\nprint('one', one.VERSION)\nfinish(0.9)"
    bucket.put("code/boot.py", text.encode())
    return bucket


def run(job: Bucket, index: Index, number: int = 1) -> "subprocess.CompletedProcess[str]":
    agent = job.agent(run_hash=f"{number:064x}", train_url=job.url(f"runs/{number}"))
    return job.run(agent, {"DLSTACK_BOOT_PIP_INDEX_URL": index.url})


def test_packages_come_from_the_index_once_and_then_from_the_bucket(
    job: Bucket, index: Index
) -> None:
    index.add(wheel("one", "1.0", needs="two>=2"))
    index.add(wheel("two", "2.0"))
    job.put("code/requirements.txt", b"one  # the first\n")
    first = run(job, index)
    assert (first.returncode, first.stderr) == (0, "")
    assert "\none 1.0\n" in first.stdout
    assert "(kept for the next run): one 1.0, two 2.0\n" in first.stdout
    kept = [key for key in job.listing("packages/") if key.endswith(".whl")]
    assert len(kept) == 2

    # What is newer at the index is not asked for: the second run trains with the same.
    index.add(wheel("one", "1.1"))
    index.close()
    second = run(job, index, 2)
    assert (second.returncode, second.stderr) == (0, "")
    assert "\none 1.0\n" in second.stdout and "(kept from an earlier run)" in second.stdout

    # Damaged ones are no wheels.
    job.put(kept[0], b"x" * len(job.get(kept[0])))
    third = run(job, index, 3)
    assert third.returncode == 1
    assert "the package index can't be reached" in third.stderr


@pytest.mark.parametrize("damaged_bytes", [len(wheel("one", "1.0")[1]), 3])
def test_what_is_left_of_damaged_wheels_is_not_installed(
    job: Bucket, index: Index, damaged_bytes: int
) -> None:
    """Symptom otherwise: two versions of a package are to be installed, which pip refuses."""
    index.add(wheel("one", "1.0"))
    job.put("code/requirements.txt", b"one\n")
    assert run(job, index).returncode == 0
    [kept] = [key for key in job.listing("packages/") if key.endswith(".whl")]
    job.put(kept, b"x" * damaged_bytes)
    index.add(wheel("one", "1.1"))
    second = run(job, index, 2)
    assert (second.returncode, second.stderr) == (0, "")
    assert "\none 1.1\n" in second.stdout

    [listed] = [key for key in job.listing("packages/") if key.endswith("wheels.json")]
    for content in (b"[]", b"null", b'{"wheels": [1]}', b"{"):
        job.put(listed, content)
    third = run(job, index, 3)
    assert (third.returncode, third.stderr) == (0, "")


def test_a_package_in_a_folder_of_an_archive_is_found(job: Bucket, index: Index) -> None:
    content = io.BytesIO()
    project = "[build-system]\nrequires = []\nbuild-backend = 'build'\nbackend-path = ['.']\n"
    name, made = wheel("one", "2.0")
    backend = (
        f"def build_wheel(folder, *_):\n    open(folder + '/{name}', 'wb').write({made!r})\n"
        f"    return '{name}'\n"
    )
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, text in {"pyproject.toml": project, "build.py": backend}.items():
            entry = tarfile.TarInfo(f"repository/packages/one/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    index.add(("one-2.0.tar.gz", content.getvalue()))
    address = f"{index.url}one/one-2.0.tar.gz#subdirectory=packages/one"
    job.put("code/requirements.txt", f"one @ {address}\n".encode())
    done = run(job, index)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\none 2.0\n" in done.stdout


def test_credentials_of_an_address_are_kept(job: Bucket) -> None:
    """Symptom otherwise: a private package can't be installed, though pip alone could."""
    name, content = wheel("one", "1.0")
    expected = "Basic " + base64.b64encode(b"user:a-secret").decode()

    class Private(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == expected
            self.send_response(200 if known else 401)
            if not known:
                self.send_header("WWW-Authenticate", "Basic realm=packages")
            self.send_header("Content-Length", str(len(content) if known else 0))
            self.end_headers()
            self.wfile.write(content if known else b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Private) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://user:${{TOKEN}}@127.0.0.1:{server.server_port}/{name}"
        job.put("code/requirements.txt", f"one @ {address}\n".encode())
        done = job.run(job.agent(), {"DLSTACK_BOOT_TOKEN": "a-secret"})
        server.shutdown()
    assert (done.returncode, done.stderr) == (0, "")
    assert "\none 1.0\n" in done.stdout and "a-secret" not in done.stdout


def test_several_workers_may_fill_the_bucket_at_the_same_time(job: Bucket, index: Index) -> None:
    index.add(wheel("one", "1.0"))
    job.put("code/requirements.txt", b"one\n")
    agents = [
        job.start(
            job.agent(run_hash=f"{number:064x}", train_url=job.url(f"runs/{number}")),
            {"DLSTACK_BOOT_PIP_INDEX_URL": index.url},
        )
        for number in (1, 2)
    ]
    for agent in agents:
        with agent:
            assert agent.communicate(timeout=100)[1] == ""
    index.close()
    assert run(job, index, 3).returncode == 0


def test_tensorflow_and_what_it_stands_on_are_those_of_the_image(job: Bucket, index: Index) -> None:
    """Symptom otherwise: half a gigabyte for each run, or a TensorFlow that doesn't start."""
    job.put("code/requirements.txt", b"tensorflow\nnumpy>=2\npandas\n")
    job.put("code/boot.py", (PROLOGUE + "finish(0.9)").encode())
    index.close()
    done = run(job, index)
    assert (done.returncode, done.stderr) == (0, "")

    job.put("code/requirements.txt", b"numpy<2\n")
    done = run(job, index, 2)
    assert done.returncode == 1
    assert "it contradicts the image, whose TensorFlow needs numpy==" in done.stderr
    assert ": numpy<2. Leave the version out" in done.stderr


def test_hashes_are_compared(job: Bucket, index: Index) -> None:
    sha256 = index.add(wheel("one", "1.0"))
    job.put("code/requirements.txt", f"one==1.0 --hash=sha256:{sha256}\n".encode())
    done = run(job, index)
    assert (done.returncode, done.stderr) == (0, "")
    job.put("code/requirements.txt", f"one==1.0 \\\n    --hash=sha256:{'0' * 64}\n".encode())
    done = run(job, index, 2)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    job.put("code/requirements.txt", b"--require-hashes\none==1.0\n")
    done = run(job, index, 3)
    assert done.returncode == 1
    assert "Hashes are required" in done.stderr and "pip-compile --generate-hashes" in done.stderr


def test_wheels_of_the_code_folder_and_included_files_need_no_index(
    job: Bucket, index: Index
) -> None:
    name, content = wheel("one", "3.0")
    job.put(f"code/sub/wheels/{name}", content)
    listed = f"-r others.txt\n-c limits.txt\n./wheels/{name}\n"
    job.put("code/sub/requirements.txt", listed.encode())
    job.put("code/sub/others.txt", b"--index-url http://127.0.0.1:9/\n# nothing\n")
    job.put("code/sub/limits.txt", b"one<4\n")
    job.put("code/sub/boot.py", job.get("code/boot.py"))
    index.close()
    done = job.run(job.agent(boot_file="sub/boot.py"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "\none 3.0\n" in done.stdout


@pytest.mark.parametrize("hashed", [False, True])
def test_a_folder_of_wheels_takes_the_place_of_an_index(job: Bucket, hashed: bool) -> None:
    digests = {}
    for name, version, needs in (("one", "1.0", "two"), ("two", "2.0", "")):
        file, content = wheel(name, version, needs=needs)
        job.put(f"code/wheels/{file}", content)
        digests[name] = f"{name}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"
    listed = "".join(digests.values()) if hashed else "one\n"
    job.put("code/requirements.txt", f"--no-index\n--find-links wheels\n{listed}".encode())
    done = job.run(job.agent())
    assert (done.returncode, done.stderr) == (0, "")
    assert "one 1.0, two 2.0\n" in done.stdout


def test_without_an_index_the_error_says_what_else_there_is(job: Bucket, index: Index) -> None:
    index.close()
    job.put("code/requirements.txt", b"one\n")
    done = run(job, index)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for way in ("dlstack:env.PIP_INDEX_URL", "dlstack:proxy", "./wheels/", "--target", ":image"):
        assert way in done.stderr


def test_what_is_not_there_or_needs_a_compiler_is_said_so(job: Bucket, index: Index) -> None:
    job.put("code/requirements.txt", b"no-such-package\n")
    done = run(job, index)
    assert "no such package is at the index" in done.stderr

    source = io.BytesIO()

    with tarfile.open(fileobj=source, mode="w:gz") as archive:
        for path, text in {
            "native-1.0/build.py": "def build_wheel(*_): raise OSError(\"command 'gcc' failed\")",
            "native-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: native\nVersion: 1.0\n",
            "native-1.0/pyproject.toml": "[build-system]\nrequires = []\n"
            "build-backend = 'build'\nbackend-path = ['.']\n",
        }.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    index.add(("native-1.0.tar.gz", source.getvalue()))
    job.put("code/requirements.txt", b"native\n")
    done = run(job, index, 2)
    assert done.returncode == 1
    assert "has no wheel for this Python and platform, and can't be built" in done.stderr


def test_a_variable_of_the_boot_file_reaches_pip_and_no_secret_the_log(
    job: Bucket, index: Index
) -> None:
    index.add(wheel("one", "1.0"))
    job.put("code/requirements.txt", b"one\n")
    address = index.url.replace("http://", "http://user:hunter2@")
    done = job.run(job.agent(), {"DLSTACK_BOOT_PIP_INDEX_URL": address})
    assert (done.returncode, done.stderr) == (0, "")
    assert index.asked
    assert all(b"hunter2" not in job.get(key) for key in job.listing())

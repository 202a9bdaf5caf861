"""Publishing against a real store: its order, and many publishers at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from store import dialect
from store.client import from_environment
from store.errors import StoreError
from store.models import newest_of_run
from store.patience import Patience
from store.urls import S3Url
from tests.ports import free_port
from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, recorded_puts
from training.agent.publishing import Provenance, check_model, publish
from training.command_line import TrainingError


@contextmanager
def forwarded(port: int, target: str) -> Iterator[None]:
    """Let the store at the URL `target` answer at `port` of this machine."""

    class Forward(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def do_GET(self) -> None:
            self.pass_on(b"")

        do_DELETE = do_GET

        def pass_on(self, body: bytes) -> None:
            connection = HTTPConnection(target.removeprefix("http://"))
            # Its signature is of all headers as they are.
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name != "Transfer-Encoding":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Forward) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "variables.index").write_bytes(b"index")
    return tmp_path


PATIENCE = Patience.each_time(300, print)


def provenance(run_hash: str) -> Provenance:
    return Provenance(
        run_hash=run_hash, metrics={}, parameters={}, details={}, seconds={}, sources={}
    )


def test_the_claim_is_put_first_and_the_manifest_last(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    client = from_environment()
    dialect.of(client, bucket.name)
    order = recorded_puts(client)
    publish(client, model_dir, S3Url(bucket.name, "models/toy"), provenance("a"), PATIENCE)
    assert order[0] == "models/toy/1/.claim"
    assert order[-1] == "models/toy/1/manifest.json"
    assert sorted(order) == bucket.listing()


def test_a_failed_upload_leaves_no_manifest_and_the_number_is_not_used_again(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    url = S3Url(bucket.name, "models/toy")
    client = from_environment()
    recorded_puts(client, fail_for="variables.index")
    with pytest.raises(StoreError, match="no room"):
        publish(client, model_dir, url, provenance("a"), Patience(0, print))
    assert "models/toy/1/manifest.json" not in bucket.listing()
    assert newest_of_run(from_environment(), url, "a").version is None
    assert publish(from_environment(), model_dir, url, provenance("a"), PATIENCE)[0] == 2
    found = newest_of_run(from_environment(), url, "a")
    assert found.version is not None and found.version.number == 2
    assert found.damaged == []


def test_a_store_that_is_away_for_a_while_is_waited_for(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom otherwise: a store that was started anew cost the whole training."""
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(
            *(publish, from_environment(), model_dir, S3Url(bucket.name, "models/toy")),
            provenance("a"),
            PATIENCE,
        )
        # Longer than boto3 itself tries again.
        with pytest.raises(TimeoutError):
            publishing.result(timeout=3)
        with forwarded(port, environment.endpoint):
            assert publishing.result(timeout=100)[0] == 1
    assert "models/toy/1/manifest.json" in bucket.listing()


def test_many_publishers_at_once_get_a_version_each(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    url = S3Url(bucket.name, "models/toy")
    client = from_environment()
    with ThreadPoolExecutor(6) as pool:
        versions = pool.map(
            lambda n: publish(client, model_dir, url, provenance(str(n)), PATIENCE)[0], range(6)
        )
        assert sorted(versions) == [1, 2, 3, 4, 5, 6]


def test_the_store_keeps_a_sha256_of_every_published_file(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    url = S3Url(bucket.name, "models/toy")
    publish(from_environment(), model_dir, url, provenance("a"), PATIENCE)
    answer = bucket.client.head_object(
        Bucket=bucket.name, Key="models/toy/1/saved_model.pb", ChecksumMode="ENABLED"
    )
    assert answer["ChecksumSHA256"]


def test_a_model_with_a_name_that_no_object_can_have_is_refused(tmp_path: Path) -> None:
    """Symptom otherwise: the training waits five minutes for a store that never takes it."""
    (tmp_path / "model" / "assets").mkdir(parents=True)
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    assert check_model(tmp_path, "train.py", tmp_path) == tmp_path / "model"
    (tmp_path / "model" / "assets" / "a\nb").write_bytes(b"x")
    with pytest.raises(TrainingError, match=r"'model/assets/a\\nb' of the model: it has a control"):
        check_model(tmp_path, "train.py", tmp_path)

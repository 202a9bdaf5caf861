"""A configured store that can't be used: refused before anything is made.

That Pulumi makes nothing then: tests/cluster/with_own_stacks/test_store_of_your_own.py.
"""

import socket
from typing import Any

import pulumi
import pytest

from infra.program import store_look
from store import client
from store.client import connect
from tests.infra.conftest import Engine, Up, look_at_the_store
from tests.infra.program.conftest import PLACE, Deployed
from tests.infra.program.test_plan import jobs_of
from tests.infra.program.test_program import JOB
from tests.seaweedfs import REGION, SeaweedFS


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_look, "problem", look_at_the_store)
    connect.cache_clear()


def keys(endpoint: str, access_key: str = "ACCESS", secret_key: str = "hunter2") -> dict[str, str]:
    return {
        "s3Endpoint": endpoint,
        "s3Region": REGION,
        "s3AccessKey": access_key,
        "s3SecretKey": secret_key,
    }


def test_one_that_is_away_is_told(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: a preview was well, and its `up` had made half of a stack when it failed."""
    away = r"can't be reached \(Connection refused\). .* dlstack:s3Endpoint"
    with pytest.raises(pulumi.RunError, match=away):
        up(**keys("http://127.0.0.1:9"))
    monkeypatch.setattr(client, "_READ_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silently = r"\(it accepts connections, and is silent\). .* dlstack:s3Endpoint is right"
        with pytest.raises(pulumi.RunError, match=silently):
            up(**keys(f"http://127.0.0.1:{silent.getsockname()[1]}"))


def test_keys_that_it_does_not_know_are_told(
    up: Up, object_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pulumi.RunError, match="refused the credentials .*dlstack:s3AccessKey"):
        up(**keys(object_store.endpoint))
    # Of an identity of this shell, in a preview: that of the `up` may be another.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-nobody")
    environment = {
        "s3Endpoint": object_store.endpoint,
        "s3Region": REGION,
        "s3Credentials": "environment",
    }
    with pytest.raises(pulumi.RunError, match="refused the credentials"):
        up(**environment)
    said: list[str] = []
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    up(**environment)
    assert len(said) == 1 and "refused the credentials" in said[0]


def test_one_that_answers_is_used(up: Up, engine: Engine, object_store: SeaweedFS) -> None:
    up(**keys(object_store.endpoint, object_store.access_key, object_store.secret_key))
    assert jobs_of(engine)


def test_where_nothing_is_to_be_sent_it_may_be_away(
    up: Up, engine: Engine, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What serves goes on to. Symptom: a minute of silence, and not a word."""
    told: dict[str, Any] = deployed.cluster.answers[f"{PLACE}/configmaps/stack"]["data"]
    told |= {"storeEndpoint": "http://127.0.0.1:9", "storeInStack": "false"}
    with monkeypatch.context() as before:
        before.setattr(store_look, "problem", lambda *_: "")
        up(**keys("http://127.0.0.1:9"))
    job = engine.the(JOB, "training-job")
    deployed.jobs(job | _COMPLETE)
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    up(**keys("http://127.0.0.1:9"))
    assert engine.the(JOB, "training-job") == job
    assert len(said) == 1
    assert said[0].startswith("What is published counts as unchanged: it is not looked at. Can't ")


_COMPLETE = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}

"""Workers behind a proxy: what the agent adds to a boot file's environment, and what it is for."""

import os
import subprocess
import sys
import textwrap

import pytest

from tests.ports import free_port
from tests.recording_proxy import RecordingProxy
from training.agent import proxies
from training.tf_config import format_tf_config

CONFIG = format_tf_config(["10.78.0.5:41000", "[fd00::7]:41001"], 1)


def test_without_a_proxy_nothing_is_added():
    assert proxies.passing_by({"HOME": "/tmp"}, CONFIG) == {}


def test_the_workers_are_added_to_what_is_there():
    given = {"https_proxy": "http://proxy:1", "no_proxy": ".svc"}
    assert proxies.passing_by(given, CONFIG) == {
        "no_proxy": ".svc,10.78.0.5,fd00::7",
        "NO_PROXY": "10.78.0.5,fd00::7",
    }


def test_who_excepts_all_is_left_at_that():
    assert proxies.passing_by({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "*"}, CONFIG) == {
        "NO_PROXY": "10.78.0.5,fd00::7"
    }


SUM = textwrap.dedent(
    """
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    @tf.function
    def total():
        def one():
            return tf.distribute.get_replica_context().all_reduce("SUM", tf.constant(1.0))
        return strategy.run(one)

    print("total", total().numpy())
    """
)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_workers_of_tensorflow_reach_each_other_behind_a_proxy():
    """Symptom: the round hung, each worker asked the proxy for the others."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with RecordingProxy() as proxy:
        named = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), proxy.url)
        around = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        workers = []
        for index in range(2):
            config = format_tf_config(addresses, index)
            added = {"TF_CONFIG": config, **proxies.passing_by(named, config)}
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-c", SUM],
                    env={**around, **named, **added, "CUDA_VISIBLE_DEVICES": ""},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
        try:
            said = [worker.communicate(timeout=300)[0] for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
        assert said == ["total 2.0\n"] * 2
        assert not proxy.asked

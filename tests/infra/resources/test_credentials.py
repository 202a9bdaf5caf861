"""Credentials of the object store: read from the Secret, or generated."""

import base64

import pulumi
import pytest

from infra.resources import connection, credentials
from store.errors import Gone
from tests.infra.conftest import ANY_CLUSTER, KubeApi


class TestCredentials:
    store = {"cluster": ANY_CLUSTER, "namespace": "stack", "secret": "object-store"}

    @pytest.fixture(autouse=True)
    def secret(self, kube_api: KubeApi) -> None:
        values = {"AWS_ACCESS_KEY_ID": b"ACCESS", "AWS_SECRET_ACCESS_KEY": b"hunter2"}
        data = {key: base64.b64encode(value).decode() for key, value in values.items()}
        kube_api["/api/v1/namespaces/stack/secrets/object-store"] = (200, {"data": data})

    def test_are_read_from_the_secret(self) -> None:
        assert connection.read_variables(self.store) == {
            "AWS_ACCESS_KEY_ID": "ACCESS",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
        }

    def test_there_are_none_where_the_secret_says_so(self, kube_api: KubeApi) -> None:
        data = {"DLSTACK_S3_CREDENTIALS": base64.b64encode(b"environment").decode()}
        kube_api["/api/v1/namespaces/stack/secrets/object-store"] = (200, {"data": data})
        assert not {"AWS_ACCESS_KEY_ID"} & connection.read_variables(self.store).keys()

    def test_that_are_gone_are_told_apart_from_a_cluster_that_is_down(self) -> None:
        with pytest.raises(Gone, match="'object-store' .* not in the namespace 'other'"):
            connection.read_variables(self.store | {"namespace": "other"})
        with pytest.raises(pulumi.RunError):
            connection.read_variables(self.store | {"cluster": ANY_CLUSTER | {"context": "down"}})

    def test_are_kept_where_a_store_runs_with_them(self) -> None:
        """Symptom otherwise: a new state, whose old one is lost, is refused by the store."""
        provider = credentials._GeneratedCredentialsProvider()
        made = provider.create({"kept_in": self.store})
        assert made.outs == {"access_key": "ACCESS", "secret_key": "hunter2"}

    def test_that_somebody_took_out_of_the_secret_are_gone(self, kube_api: KubeApi) -> None:
        kube_api["/api/v1/namespaces/stack/secrets/object-store"] = (200, {"data": {"x": "eA=="}})
        with pytest.raises(Gone, match="has no AWS_ACCESS_KEY_ID .* 'pulumi up --refresh'"):
            connection.read_variables(self.store)


def test_generated_credentials_are_made_once(kube_api: KubeApi) -> None:
    provider = credentials._GeneratedCredentialsProvider()
    new = {"kept_in": {"cluster": ANY_CLUSTER, "namespace": "stack", "secret": "object-store"}}
    first, second = provider.create(new).outs, provider.create(new).outs
    assert first is not None
    assert first != second
    assert provider.diff("id", first, {}).changes is False
    assert provider.read("id", first).outs == first
    assert provider.update("id", first, {}).outs == first

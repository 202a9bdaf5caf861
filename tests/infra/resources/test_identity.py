"""What a stack refuses to do to itself and to others; a server is in place of the cluster's API.

That Pulumi asks first, and changes nothing then, is for tests/cluster.
"""

from typing import Any

import pulumi
import pytest

from infra.resources import engine
from infra.resources.identity import _IdentityProvider
from tests.infra.conftest import KubeApi

NAMESPACE = "/api/v1/namespaces/dlstack-dev"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/dlstack-dev/networkpolicies"
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
HERE = {"context": "up", "uid": "here", "server": "https://here:6443"}
THERE = {"context": "up", "uid": "there", "server": "https://there:6443"}
ID = "11111111-aaaa"
Props = dict[str, Any]
provider = _IdentityProvider()


@pytest.fixture
def props(kube_api: KubeApi) -> Props:
    """A stack that was never made, and a cluster without its namespace."""
    kube_api[KUBE_SYSTEM] = (200, {"metadata": {"uid": "here"}})
    return {
        "stack": "dlstack-dev",
        "cluster": HERE,
        "namespace": "dlstack-dev",
        "output_bucket": "dlstack-dev-output",
        "in_stack": True,
        "force_destroy": False,
        "problem": "",
    }


@pytest.fixture
def olds(props: Props) -> Props:
    """What the state of a stack has that was made."""
    return props | {"stack_id": ID}


def there(kube_api: KubeApi, labels: dict[str, str], **config_map: str) -> dict[str, Any]:
    """Make the namespace, and in it what a stack says of itself; return the former."""
    document: dict[str, Any] = {"metadata": {"name": "dlstack-dev", "labels": labels}}
    kube_api[NAMESPACE] = (200, document)
    if config_map:
        kube_api[f"{NAMESPACE}/configmaps/stack"] = (200, {"data": config_map})
    return document


def marked(stack_id: str = ID, stack: str = "dlstack-dev") -> dict[str, str]:
    return {"dlstack.dev/stack": stack, "dlstack.dev/stack-id": stack_id}


def refused(olds: Props, news: Props) -> str:
    with pytest.raises(pulumi.RunError) as error:
        provider.check(olds, dict(news))
    return str(error.value)


class TestTheId:
    def test_is_made_once(self, props: Props) -> None:
        first = provider.check({}, dict(props)).inputs
        assert len(first["stack_id"]) == 36
        assert provider.check({}, dict(props)).inputs["stack_id"] != first["stack_id"]
        assert provider.check(first, dict(props)).inputs == first
        assert provider.create(first).outs == first
        assert provider.diff("id", first, first).changes is False

    def test_may_be_told(self, props: Props) -> None:
        assert provider.check({}, props | {"stack_id": ID}).inputs["stack_id"] == ID

    def test_of_a_stack_that_has_one_stays(self, props: Props, olds: Props) -> None:
        assert provider.check(olds, props | {"stack_id": ID}).failures == []
        text = refused(olds, props | {"stack_id": "other"})
        assert text.startswith(f"dlstack:stackId is other, but this stack has the id {ID}. Run")
        assert "'pulumi config rm dlstack:stackId'" in text


class TestAnotherCluster:
    def test_is_refused_with_the_names_of_both(self, props: Props, olds: Props) -> None:
        text = refused(olds | {"cluster": THERE}, props)
        assert "in the cluster 'https://there:6443' (UID there), but the context 'up'" in text
        assert "leads to 'https://here:6443' (UID here)" in text

    def test_is_told_before_what_it_lacks(self, props: Props, olds: Props) -> None:
        lacking = props | {"problem": "No node has room."}
        assert "leads to 'https://here:6443'" in refused(olds | {"cluster": THERE}, lacking)
        assert refused(olds, lacking) == "No node has room."

    def test_has_not_lost_the_stack(self, olds: Props) -> None:
        """Symptom otherwise: `pulumi refresh` and `destroy` empty the state, with exit status 0."""
        for call in (provider.read, provider.delete):
            with pytest.raises(pulumi.RunError, match="is in the cluster 'https://there:6443'"):
                call("id", olds | {"cluster": THERE})

    def test_that_does_not_answer_has_not_lost_it_either(self, olds: Props) -> None:
        for call in (provider.read, provider.delete):
            with pytest.raises(pulumi.RunError, match="No Kubernetes answers"):
                call("id", olds | {"cluster": HERE | {"context": "down"}})

    def test_is_not_another_way_to_the_same_one(self, props: Props, olds: Props) -> None:
        way = {"cluster": HERE | {"server": "https://127.0.0.1:7443"}}
        assert provider.check(olds, props | way).failures == []
        assert provider.diff("id", olds, olds | way).changes is False
        # By the context the state would go on to look for it.
        way = {"cluster": HERE | {"context": ""}}
        assert provider.diff("id", olds, olds | way).changes is True


class TestAnotherNamespace:
    def test_is_refused_while_models_would_be_lost(self, props: Props, olds: Props) -> None:
        text = refused(olds, props | {"namespace": "new"})
        assert text.startswith("In the namespace 'new' it would be without its models")
        assert "Keep them with 'pulumi config set dlstack:namespace dlstack-dev'. To begin" in text

    def test_of_a_renamed_stack_says_all_that_keeps_them(self, props: Props, olds: Props) -> None:
        """Symptom otherwise: `pulumi stack rename` and `up` delete every model."""
        renamed = {"stack": "dlstack-prod", "namespace": "dlstack-prod"}
        text = refused(olds, props | renamed | {"output_bucket": "dlstack-prod-output"})
        assert text.startswith("The stack 'dlstack-dev' is called 'dlstack-prod' now. In the")
        assert (
            "'pulumi config set dlstack:namespace dlstack-dev' and "
            "'pulumi config set dlstack:bucketPrefix dlstack-dev'"
        ) in text
        # With both set it goes on, under its new name.
        assert provider.check(olds, props | {"stack": "dlstack-prod"}).failures == []
        assert provider.diff("id", olds, olds | {"stack": "dlstack-prod"}).replaces == []

    def test_is_taken_where_nothing_is_lost(self, props: Props, olds: Props) -> None:
        assert (
            provider.check(olds | {"in_stack": False}, props | {"namespace": "new"}).failures == []
        )

    def test_is_taken_where_all_may_be_lost_and_says_what_goes(
        self, props: Props, olds: Props, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """forceDestroy that was left on made a rename delete all models without a word."""
        told: list[str] = []
        monkeypatch.setattr(engine, "tell", lambda text, **_: told.append(text))
        news = props | {"namespace": "new", "force_destroy": True}
        assert provider.check(olds, news).failures == []
        (text,) = told
        assert "of the namespace 'dlstack-dev' will be deleted with all models" in text
        assert "'pulumi config set dlstack:namespace dlstack-dev' would keep them." in text


class TestANamespaceThatIsThere:
    def test_and_bears_the_id_is_its_own(
        self, props: Props, olds: Props, kube_api: KubeApi
    ) -> None:
        there(kube_api, marked())
        assert provider.check(olds, dict(props)).failures == []
        assert provider.diff("id", olds, olds).changes is False
        # The state is lost: the next one takes over what bears the id that it is told.
        assert provider.check({}, props | {"stack_id": ID}).failures == []

    def test_and_another_stacks_is_refused(self, props: Props, kube_api: KubeApi) -> None:
        """Of the same name: of another person's back end."""
        there(kube_api, marked("22222222-bbbb"))
        text = refused({}, props)
        assert "belongs to another stack, 'dlstack-dev' with the id 22222222-bbbb; this" in text
        assert text.endswith("all it has: 'pulumi config set dlstack:stackId 22222222-bbbb'.")

    def test_and_lost_its_label_is_known_by_what_lies_in_it(
        self, props: Props, olds: Props, kube_api: KubeApi
    ) -> None:
        document = there(kube_api, {"a": "b"}, stack="dlstack-dev", stackId=ID)
        assert provider.check(olds, dict(props)).failures == []
        assert provider.diff("id", olds, olds).changes is True
        assert provider.update("id", olds, olds).outs == olds
        assert document["metadata"]["labels"] == marked()
        assert provider.diff("id", olds, olds).changes is False
        document = there(kube_api, {"dlstack.dev/stack": "dlstack-dev"}, stack="dlstack-dev")
        assert provider.update("id", olds, olds).outs == olds
        assert document["metadata"]["labels"] == marked()
        there(kube_api, {}, stack="dlstack-dev", stackId="22222222-bbbb")
        assert "belongs to another stack, 'dlstack-dev' with the id 2222" in refused(olds, props)

    def test_and_nobodys_is_refused(self, props: Props, olds: Props, kube_api: KubeApi) -> None:
        there(kube_api, {})
        text = refused(olds, props)
        assert text.startswith("The namespace 'dlstack-dev' exists and does not say that it is")
        assert f"'kubectl label namespace dlstack-dev dlstack.dev/stack-id={ID}'" in text
        refused({}, props | {"stack_id": ID})

    def test_and_of_a_time_before_ids_is_refused(self, props: Props, kube_api: KubeApi) -> None:
        """Its objects are of Pulumi's default provider: with another all would be replaced."""
        there(kube_api, {"dlstack.dev/stack": "dlstack-dev"}, stack="dlstack-dev")
        assert "before stacks had ids. Destroy that stack with the checkout" in refused({}, props)
        refused({}, props | {"stack_id": ID})

    def test_is_marked_with_the_present_name_when_it_is_taken_over(
        self, props: Props, olds: Props, kube_api: KubeApi
    ) -> None:
        document = there(kube_api, marked(stack="dlstack-old"))
        assert provider.create(olds).id == ID
        assert document["metadata"]["labels"] == marked()

    def test_and_is_being_deleted_is_refused(
        self, props: Props, olds: Props, kube_api: KubeApi
    ) -> None:
        document = there(kube_api, marked())
        document["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
        message = "Some content in the namespace has finalizers remaining: x.dev/y in 1 instances"
        document["status"] = {
            "conditions": [
                {"status": "False", "message": "All resources successfully discovered"},
                {"status": "True", "message": f"{message}."},
            ]
        }
        text = refused(olds, props)
        assert text.startswith(
            "The namespace 'dlstack-dev' is being deleted since 2026-01-02T03:04:05Z "
            f"({message}). Wait for its end"
        )
        assert "'kubectl wait --for=delete namespace/dlstack-dev --timeout=5m'" in text


class TestAGivenNamespace:
    """Made by an administrator: the stack can't mark, label or delete it."""

    @pytest.fixture(autouse=True)
    def given(self, kube_api: KubeApi, props: Props) -> Props:
        del kube_api[KUBE_SYSTEM]  # Which its user may not see.
        kube_api[NAMESPACE] = (200, {"metadata": {"name": "dlstack-dev", "uid": "ns-1"}})
        kube_api[f"{NAMESPACE}/configmaps"] = (200, {})
        props["cluster"] = HERE | {"uid": "ns-1", "namespace": "dlstack-dev"}
        return props

    def test_is_marked_by_what_the_stack_says_of_itself(
        self, kube_api: KubeApi, props: Props
    ) -> None:
        made = provider.create(provider.check({}, props | {"stack_id": ID}).inputs)
        _, config_map = kube_api[f"{NAMESPACE}/configmaps/stack"]
        assert config_map["data"] == {"stack": "dlstack-dev", "stackId": ID}
        assert "labels" not in kube_api[NAMESPACE][1]["metadata"]
        outs = made.outs or {}
        assert provider.diff(ID, outs, dict(outs)).changes is False
        provider.delete(ID, outs)
        assert f"{NAMESPACE}/configmaps/stack" not in kube_api and NAMESPACE in kube_api

    def test_whose_mark_is_gone_is_marked_again(self, kube_api: KubeApi, olds: Props) -> None:
        olds = olds | {"cluster": HERE | {"uid": "ns-1", "namespace": "dlstack-dev"}}
        assert provider.diff(ID, olds, dict(olds)).changes is True
        provider.update(ID, olds, dict(olds))
        assert f"{NAMESPACE}/configmaps/stack" in kube_api

    def test_that_holds_another_stack_is_refused(self, kube_api: KubeApi, props: Props) -> None:
        data = {"stack": "dlstack-b", "stackId": "2222"}
        kube_api[f"{NAMESPACE}/configmaps/stack"] = (200, {"data": data})
        said = refused({}, props)
        assert "holds another stack, 'dlstack-b' with the id 2222" in said
        assert "config set dlstack:stackId 2222" in said
        # Its mark is left alone by whoever was refused.
        provider.delete(ID, props | {"stack_id": ID})
        assert f"{NAMESPACE}/configmaps/stack" in kube_api

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/apis/apps/v1/namespaces/dlstack-dev/deployments/prediction", "Deployment"),
            (f"{NAMESPACE}/secrets/proxy", "Secret"),
            (f"{NAMESPACE}/configmaps/metrics", "ConfigMap"),
            (f"{NAMESPACE}/configmaps/stack", "ConfigMap"),
            (f"{POLICIES}/training", "NetworkPolicy"),
        ],
    )
    def test_with_things_of_others_is_refused(
        self, kube_api: KubeApi, props: Props, path: str, kind: str
    ) -> None:
        """Symptom otherwise: the stack takes over a Deployment of others, and deletes it."""
        name = path.rpartition("/")[2]
        kube_api[path] = (200, {"kind": kind, "metadata": {"name": name}})
        assert f"has a {kind} '{name}', which is not this stack's" in refused({}, props)
        ours = {"app.kubernetes.io/part-of": "dlstack"}
        kube_api[path] = (200, {"kind": kind, "metadata": {"name": name, "labels": ours}})
        assert provider.check({}, dict(props)).failures == []

    def test_that_was_made_anew_is_another(self, kube_api: KubeApi, props: Props) -> None:
        olds = props | {"stack_id": ID}
        news = props | {"cluster": HERE | {"uid": "ns-2", "namespace": "dlstack-dev"}}
        said = refused(olds, news)
        assert "namespace 'dlstack-dev' of UID ns-1" in said and "has the UID ns-2" in said
        assert "'pulumi stack rm --force'" in said

    def test_can_not_become_the_stack_s_own_nor_the_other_way_round(self, props: Props) -> None:
        """Symptom otherwise: the stack's own namespace is deleted, with all models."""
        olds = props | {"stack_id": ID}
        said = refused(olds, props | {"cluster": HERE})
        assert "which it was given" in said and "config set dlstack:createNamespace false" in said
        said = refused(olds | {"cluster": HERE}, props)
        assert "which it made itself" in said and "config rm dlstack:createNamespace" in said

"""Why pods don't come up, from documents as a cluster (Kubernetes 1.34) tells them."""

from typing import Any

import pytest

from infra.cluster import troubles
from infra.cluster.messages import Trouble

Document = dict[str, Any]


def owned(uid: str, owner: str, **rest: Any) -> Document:
    metadata = {"name": uid, "uid": uid, "namespace": "ns", "ownerReferences": [{"uid": owner}]}
    return {"metadata": {**metadata, **rest.pop("metadata", {})}, **rest}


def deployment(name: str = "prediction") -> Document:
    annotations = {"deployment.kubernetes.io/revision": "2"}
    return {"metadata": {"name": name, "uid": "d", "annotations": annotations}}


def replica_set(uid: str = "rs", revision: str = "2", refused: str = "") -> Document:
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": refused}]
    return owned(
        uid,
        "d",
        metadata={"annotations": {"deployment.kubernetes.io/revision": revision}},
        status={"conditions": conditions if refused else []},
    )


def pod(owner: str = "rs", status: Document | None = None, **spec: Any) -> Document:
    return owned("p", owner, spec=spec, status={"phase": "Pending", **(status or {})})


def unscheduled(message: str) -> Document:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return {"conditions": [{**condition, "message": message}]}


def in_container(name: str = "server", **state: Any) -> Document:
    return {"containerStatuses": [{"name": name, "image": "img:1", **state}]}


def event(uid: str, reason: str, message: str, time: str = "1", **about: Any) -> Document:
    return {
        "involvedObject": {"uid": uid, **about},
        "reason": reason,
        "message": message,
        "lastTimestamp": time,
    }


def of(status: Document, component: str = "prediction", **rest: Any) -> Trouble | None:
    """The trouble of a Deployment whose only pod has `status`."""
    spec = rest.pop("spec", {})
    found = {"events": [], "claims": [], **rest}
    return troubles.of_deployment(
        deployment(component), [replica_set()], [pod(status=status, **spec)], **found
    )


def refused(message: str, component: str = "prediction") -> Trouble | None:
    return troubles.of_deployment(deployment(component), [replica_set(refused=message)], [], [])


JOB: Document = {"metadata": {"name": "training-1", "uid": "j"}, "spec": {"parallelism": 1}}


def of_job(status: Document | None = None, events: Any = ()) -> Trouble | None:
    pods = [pod("j", status)] if status is not None else []
    return troubles.of_job(JOB, pods, events)


def test_a_pod_that_comes_up_has_none() -> None:
    assert of({"phase": "Running", **in_container(ready=True, state={"running": {}})}) is None
    assert of(in_container(state={"waiting": {"reason": "ContainerCreating"}})) is None
    assert of({"phase": "Running", **in_container(ready=False, state={"running": {}})}) is None


def test_a_pod_of_an_earlier_version_is_not_asked() -> None:
    old = pod("old", unscheduled("0/1 nodes are available: 1 Insufficient cpu."))
    sets = [replica_set(), replica_set("old", "1", refused="no")]
    assert troubles.of_deployment(deployment(), sets, [old], []) is None


class TestImage:
    @pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
    def test_that_is_not_there_is_hopeless_and_names_its_key(self, reason: str) -> None:
        message = (
            'Back-off pulling image "img:1": ErrImagePull: rpc error: code = NotFound desc = failed'
            ' to pull and unpack image "docker.io/library/img:1": docker.io/library/img:1: not '
            "found"
        )
        waiting = {"reason": reason, "message": message}
        found = of(in_container(state={"waiting": waiting}))
        assert found is not None and found.hopeless
        assert found.reason.startswith("the image 'img:1' can't be pulled: ")
        assert found.reason.endswith("docker.io/library/img:1: not found")
        assert found.advice == "Set dlstack:runtimeImage to an image that the nodes can get."

    def test_whose_registry_does_not_answer_may_come(self) -> None:
        message = 'failed to do request: Head "https://r.example/v2/": dial tcp: i/o timeout'
        waiting = {"reason": "ErrImagePull", "message": message}
        found = of_job(in_container("training", state={"waiting": waiting}))
        assert found is not None and not found.hopeless
        assert "dlstack:image" in found.advice


def test_a_volume_that_a_lost_node_holds_is_told_with_what_frees_it() -> None:
    message = (
        'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one '
        "node and can't be attached to another"
    )
    creating = in_container(state={"waiting": {"reason": "ContainerCreating"}})
    found = of(creating, events=[event("p", "FailedAttachVolume", message)])
    assert found is not None and found.reason.startswith("its volume is still attached to the node")
    assert "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute" in found.advice


def test_a_pod_that_does_not_end_on_a_lost_node_is_told() -> None:
    """Symptom otherwise: a run that "runs", and that nothing happens in."""
    evicted = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    lost = pod("j", {"phase": "Running", "conditions": [evicted]}, nodeName="two")
    lost["metadata"]["deletionTimestamp"] = "2026-03-01T10:00:00Z"
    found = troubles.of_job(JOB, [lost], [])
    assert found is not None and "has to leave the node 'two'" in found.reason
    lost["status"]["phase"] = "Failed"
    assert troubles.of_job(JOB, [lost], []) is None


class TestUnschedulable:
    @pytest.mark.parametrize(
        ("message", "reason", "advice"),
        [
            (
                "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
                "preemption: 0/1 nodes are available: 1 No preemption victims found.",
                "no node has room for its pod (0/1 nodes are available: 1 Insufficient cpu)",
                "Choose a smaller dlstack:servingFlavour, add a node, wait for what runs there, "
                "or, if an old pod does, have it end first ('pulumi config set "
                "dlstack:servingSurge never').",
            ),
            (
                "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
                "no node takes its pod (0/1 nodes are available: 1 node(s) didn't match Pod's "
                "node affinity/selector)",
                "Correct nodeSelector and tolerations of dlstack:servingFlavour in "
                "dlstack:flavours, or label a node.",
            ),
            (
                "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to "
                "bind. preemption: 0/1 nodes are available: 1 Preemption is not helpful.",
                "no volume for it is free (0/1 nodes are available: 1 node(s) didn't find "
                "available persistent volumes to bind)",
                "Free one, or set dlstack:storageClass and dlstack:storageSize to what the "
                "cluster has.",
            ),
        ],
    )
    def test_says_what_no_node_has_and_may_pass(
        self, message: str, reason: str, advice: str
    ) -> None:
        assert of(unscheduled(message)) == Trouble(reason, advice, hopeless=False)

    @pytest.mark.parametrize(
        "why",
        ["didn't match PersistentVolume's node affinity", "had volume node affinity conflict"],
    )
    def test_of_a_volume_on_a_lost_nodes_disk_says_that_it_waits_for_the_node(
        self, why: str
    ) -> None:
        """Symptom otherwise: "no volume for it is free. Free one, or set dlstack:storageClass"."""
        lost = "1 node(s) had untolerated taint(s) {node.kubernetes.io/unreachable: }"
        found = of(unscheduled(f"0/3 nodes are available: {lost}, 2 node(s) {why}."), "store")
        assert found is not None and not found.hopeless
        assert found.reason.startswith("its volume can't leave its node, which takes no pods now")
        assert "Bring that node back" in found.advice

    @pytest.mark.parametrize(
        ("reason", "message", "end"),
        [
            ("TriggeredScaleUp", "pod triggered scale-up: [{gpus 0->1 (max: 3)}]", "being made"),
            ("Nominated", "Pod should schedule on: nodeclaim/gpus-x", "; one is being made"),
            (
                "NotTriggerScaleUp",
                "pod didn't trigger scale-up: 1 max node group size reached",
                "; none is made: 1 max node group size reached",
            ),
        ],
    )
    def test_says_whether_an_autoscaler_makes_a_node(
        self, reason: str, message: str, end: str
    ) -> None:
        status = unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
        found = of_job(status, [event("p", reason, message)])
        assert found is not None and not found.hopeless
        assert found.reason.startswith("no node has room for its pod (0/3")
        assert found.reason.endswith(end)

    def test_of_a_pod_of_fixed_size_names_no_flavour(self) -> None:
        found = of(unscheduled("0/1 nodes are available: 1 Insufficient cpu."), "tensorboard")
        assert found is not None
        assert found.advice == "Add a node, or wait for what runs there."

    @pytest.mark.parametrize(
        ("message", "reason", "hopeless"),
        [
            (
                'storageclass.storage.k8s.io "fast" not found',
                "the cluster has no storage class 'fast'",
                True,
            ),
            (
                "no persistent volumes available for this claim and no storage class is set",
                "the cluster has no default storage class, and no free volume",
                True,
            ),
            (
                "failed to provision volume: quota reached",
                "the claim 'object-store' has no volume: failed to provision volume: quota reached",
                False,
            ),
        ],
    )
    def test_for_a_claim_says_what_the_claim_lacks(
        self, message: str, reason: str, hopeless: bool
    ) -> None:
        claim = {
            "metadata": {"name": "object-store", "uid": "c", "namespace": "ns"},
            "status": {"phase": "Pending"},
        }
        found = of(
            unscheduled("0/1 nodes are available: pod has unbound immediate volume claims."),
            "object-store",
            spec={"volumes": [{"persistentVolumeClaim": {"claimName": "object-store"}}]},
            claims=[claim],
            events=[event("c", "ProvisioningFailed", message)],
        )
        assert found is not None
        assert (found.reason, found.hopeless) == (reason, hopeless)
        assert "dlstack:storageClass" in found.advice


class TestRefused:
    @pytest.mark.parametrize(
        ("message", "reason", "hopeless"),
        [
            (
                'pods "p" is forbidden: exceeded quota: small, requested: requests.cpu=500m, '
                "used: requests.cpu=0, limited: requests.cpu=100m",
                "the namespace's quota is used up: exceeded quota: small, requested: "
                "requests.cpu=500m, used: requests.cpu=0, limited: requests.cpu=100m",
                False,
            ),
            (
                'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: server',
                "a quota asks for what the pods don't have: failed quota: q: must specify "
                "limits.cpu for: server",
                True,
            ),
            (
                'pods "p" is forbidden: [maximum memory usage per Container is 64Mi, but limit is '
                "1Gi, maximum memory usage per Container is 64Mi, but limit is 2Gi]",
                "a LimitRange refuses the pod: [maximum memory usage per Container is 64Mi, but "
                "limit is 1Gi, maximum memory usage per Container is 64Mi, but limit is 2Gi]",
                True,
            ),
            (
                "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'no-pods' with binding "
                "'no-pods' denied request: no team label",
                "a policy of the cluster refuses the pod: ValidatingAdmissionPolicy 'no-pods' "
                "with binding 'no-pods' denied request: no team label",
                True,
            ),
            (
                'admission webhook "w.example" denied the request: no team label',
                'a policy of the cluster refuses the pod: admission webhook "w.example" denied '
                "the request: no team label",
                True,
            ),
            (
                'pods "p" is forbidden: unable to create new content in namespace ns because it '
                "is being terminated",
                "the namespace is being deleted",
                True,
            ),
            (
                'Internal error occurred: failed calling webhook "w.example": connection refused',
                "the cluster refuses to make the pod: Internal error occurred: failed calling "
                'webhook "w.example": connection refused',
                False,
            ),
        ],
    )
    def test_pods_of_deployments_and_jobs_say_by_what(
        self, message: str, reason: str, hopeless: bool
    ) -> None:
        found = refused(message)
        assert found is not None
        assert (found.reason, found.hopeless) == (reason, hopeless)
        told = of_job(events=[event("j", "FailedCreate", f"Error creating: {message}")])
        assert told is not None and told.reason == reason


class TestContainer:
    FAILED = {"exitCode": 1, "reason": "Error", "message": "error: Publish the model again.\n"}
    WAITING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}

    @pytest.mark.parametrize(("restarts", "hopeless"), [(0, False), (2, False), (3, True)])
    def test_that_ends_tells_its_last_words_and_has_some_tries(
        self, restarts: int, hopeless: bool
    ) -> None:
        state = {"state": self.WAITING, "lastState": {"terminated": self.FAILED}}
        found = of(in_container("sync", restartCount=restarts, **state))
        assert found is not None and found.hopeless is hopeless
        assert found.reason.endswith("with exit status 1: Publish the model again")

    def test_that_can_not_load_its_model_will_not_the_next_time(self) -> None:
        said = (
            "2026-01-15 10:00:00,123 E serving.models.lifecycle: Loading servable {name: mnist "
            "version: 3} failed, try 1 of 1: OUT_OF_RANGE: Read less bytes than requested\n"
            "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available\n"
        )
        ended = {"exitCode": 255, "reason": "Error", "message": said}
        found = of(
            in_container(restartCount=1, state=self.WAITING, lastState={"terminated": ended})
        )
        assert found == Trouble(
            "the container 'server' ended 2 times, the last time with exit status 255: Loading "
            "servable {name: mnist version: 3} failed, try 1 of 1: OUT_OF_RANGE: Read less bytes "
            "than requested",
            "Set dlstack:modelVersion to a version that can be loaded, or train another.",
            hopeless=True,
        )

    def test_that_uses_too_much_memory_names_its_flavour(self) -> None:
        ended = {"exitCode": 137, "reason": "OOMKilled"}
        spec = {"containers": [{"name": "server", "resources": {"limits": {"memory": "1Gi"}}}]}
        running = {"state": {"running": {}}, "lastState": {"terminated": ended}}
        found = of(in_container(ready=False, restartCount=1, **running), spec=spec)
        assert found == Trouble(
            "the container 'server' was killed 2 times: it used more memory than its 1Gi",
            "Choose a bigger dlstack:servingFlavour.",
            hopeless=True,
        )

    def test_that_failed_and_is_well_again_is_no_trouble(self) -> None:
        state = {"state": {"running": {}}, "lastState": {"terminated": self.FAILED}}
        assert of(in_container(ready=True, restartCount=1, **state)) is None

    def test_whose_secret_is_gone(self) -> None:
        waiting = {
            "reason": "CreateContainerConfigError",
            "message": 'secret "object-store" not found',
        }
        assert of(in_container(state={"waiting": waiting})) == Trouble(
            "the Secret 'object-store' is not there",
            "Run 'pulumi up --refresh', which makes it again.",
            hopeless=True,
        )

    def test_whose_volume_can_not_be_mounted(self) -> None:
        message = 'MountVolume.SetUp failed for volume "packages" : configmap "store-1" not found'
        found = of(
            in_container(state={"waiting": {"reason": "ContainerCreating"}}),
            events=[event("p", "FailedMount", message)],
        )
        assert found is not None and found.reason == "the ConfigMap 'store-1' is not there"

    def test_of_a_job_that_failed_by_itself_is_the_jobs_own_business(self) -> None:
        assert of_job(in_container("training", state={"terminated": self.FAILED})) is None


def test_a_pod_that_its_node_has_thrown_out_says_what_the_node_lacked() -> None:
    """The Job starts another at no charge, which goes the same way, until its time is over."""
    status = {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: ephemeral-storage. ",
    }
    found = of_job(status)
    assert found is not None and not found.hopeless
    assert found.reason == "a pod ended: Evicted: The node was low on resource: ephemeral-storage"
    assert "dlstack:flavour" in found.advice


def test_of_a_job_whose_pods_are_gone_their_events_tell_what_they_waited_for() -> None:
    """`status` said "DeadlineExceeded" only: the Job's controller deletes its pods then."""
    about = {"kind": "Pod", "name": "training-1-abcde"}
    full = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available."
    events = [
        event("x", "FailedScheduling", "0/1 nodes are available: 1 Insufficient gpu.", **about),
        event("x", "FailedScheduling", full, "2", **about),
        event("x", "FailedScheduling", "skip schedule deleting pod: ns/x", "3", **about),
        event("y", "FailedScheduling", full, "4", kind="Pod", name="prediction-1-abcde"),
    ]
    found = of_job(events=events)
    assert found is not None
    assert found.reason == (
        "no node has room for its pod (0/1 nodes are available: 1 Insufficient cpu)"
    )
    assert of_job(events=[*events, event("x", "Started", "", "5", **about)]) is None


def test_a_mesh_s_proxy_before_the_server_does_not_take_its_place() -> None:
    """The flavour is that of the container that answers, wherever it stands in the pod."""
    killed = {"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    proxy = {"name": "istio-proxy", "state": {"running": {}}, "ready": True}
    server = {"name": "server", "state": {"waiting": {}}, **killed}
    containers = [{"name": "istio-proxy"}, {"name": "server"}]
    found = of({"containerStatuses": [proxy, server]}, spec={"containers": containers})
    assert found is not None and "dlstack:servingFlavour" in found.advice
    proxy |= {"state": {"waiting": {}}, "ready": False, **killed}
    found = of({"containerStatuses": [proxy]}, spec={"containers": containers})
    assert found is not None and found.advice == ""


def test_a_default_limit_below_what_a_flavour_reserves_names_its_field() -> None:
    """Of a LimitRange: the flavour caps no cores, and the namespace does."""
    found = refused(
        'Error creating: Pod "prediction-1" is invalid: spec.containers[0].resources.requests: '
        'Invalid value: "4": must be less than or equal to cpu limit of 1500m'
    )
    assert found is not None and found.hopeless
    assert found.reason.startswith("a default cpu limit is below what the pod reserves: Pod ")
    assert found.advice.startswith("Give the flavour a cpuLimit in dlstack:flavours, or change the")


def test_a_pod_that_wrote_more_than_its_disk_says_so() -> None:
    message = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
    found = of_job({"phase": "Failed", "reason": "Evicted", "message": message})
    assert found is not None
    assert found.reason == f"a pod ended: Evicted: {message[:-2]}"
    assert found.advice == "Give dlstack:flavour a disk that is big enough: see dlstack:flavours."


def test_an_image_for_machines_of_another_kind_says_so() -> None:
    said = "exec /usr/bin/python3: exec format error"
    ended = {"exitCode": 255, "reason": "Error", "message": said}
    found = of(
        in_container(
            state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ended}
        )
    )
    assert found is not None and found.hopeless
    assert "Build that of dlstack:runtimeImage for this one, or choose nodes" in found.advice
    message = "no match for platform in manifest: not found"
    waiting = {"reason": "ErrImagePull", "message": message}
    found = of(in_container(state={"waiting": waiting}))
    assert found is not None and found.hopeless
    assert 'dlstack:nodeSelector["kubernetes.io/arch"]' in found.advice


def test_a_registry_that_wants_to_know_who_asks_names_the_key() -> None:
    message = "failed to authorize: failed to fetch anonymous token: 401 Unauthorized: unauthorized"
    found = of(in_container(state={"waiting": {"reason": "ErrImagePull", "message": message}}))
    assert found is not None and "dlstack:imagePullSecrets" in found.advice

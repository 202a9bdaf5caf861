"""Which volumes are made and removed. That they are is for the tests on a real cluster."""

from pathlib import Path

from local.kubernetes.provisioner import (
    SELECTED_NODE,
    STORAGE_CLASS,
    Provisioner,
    growing,
    over,
    volume_for,
    wanting,
)

FOLDER = Path("/platform/volumes")


def claim(uid, storage_class=STORAGE_CLASS, node="dlstack", **spec):
    return {
        "metadata": {
            "name": "store",
            "namespace": "team",
            "uid": uid,
            "annotations": {SELECTED_NODE: node} if node else {},
        },
        "spec": {
            "storageClassName": storage_class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
            **spec,
        },
    }


def test_a_claim_gets_a_folder_of_its_own_that_every_node_sees():
    volume = volume_for(claim("1"), FOLDER)
    assert volume["metadata"]["name"] == "pvc-1"
    spec = volume["spec"]
    assert spec["local"] == {"path": "/platform/volumes/pvc-1"}
    assert (spec["claimRef"]["namespace"], spec["claimRef"]["uid"]) == ("team", "1")
    assert spec["capacity"] == {"storage": "10Gi"}
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "Exists"}]


def test_a_claim_waits_for_its_pod_and_for_no_volume_of_another_class():
    ready = claim("1")
    others = [
        claim("2", node=None),
        claim("3", storage_class="fast"),
        claim("4", volumeName="pvc-4"),
        claim("5", volumeName="taken-by-hand"),
    ]
    assert wanting([ready, *others]) == [ready]


def test_a_volume_grows_with_its_claim():
    volume = volume_for(claim("1"), FOLDER)
    bound = claim("1", volumeName="pvc-1")
    larger = claim("1", volumeName="pvc-1", resources={"requests": {"storage": "20Gi"}})
    assert growing([bound], [volume]) == []
    assert growing([larger, claim("2", volumeName="of-others")], [volume]) == [larger]


def test_only_a_volume_whose_claim_is_gone_is_over():
    kept, lost = (volume_for(claim(uid), FOLDER) for uid in "12")
    elsewhere = volume_for(claim("3"), Path("/data"))
    never_claimed = volume_for(claim("4"), FOLDER)
    del never_claimed["spec"]["claimRef"]
    volumes = [kept, lost, elsewhere, never_claimed, {"spec": {"nfs": {"path": str(FOLDER)}}}]
    assert over(volumes, [claim("1")], FOLDER) == [lost]


def test_a_claim_made_anew_under_its_old_name_gets_nothing_of_the_old_volume():
    assert over([volume_for(claim("1"), FOLDER)], [claim("2")], FOLDER) != []


class Recorded:
    """An API that has these objects and takes no volume of the claim `refused`."""

    def __init__(self, volumes, claims, refused=None):
        self.listed = {"persistentvolumes": volumes, "persistentvolumeclaims": claims}
        self.refused = refused
        self.made, self.patched, self.deleted = [], [], []

    def list(self, path):
        return self.listed[path.rpartition("/")[2]]

    def create(self, _path, document):
        if document["spec"]["claimRef"]["uid"] == self.refused:
            raise OSError("refused")
        self.made.append(document["metadata"]["name"])
        return True

    def patch(self, path, change):
        self.patched.append((path.rpartition("/")[2], change))

    def delete(self, path):
        self.deleted.append(path.rpartition("/")[2])


def test_a_volume_goes_with_its_folder_and_one_that_fails_keeps_no_other_waiting(tmp_path, capsys):
    gone = volume_for(claim("gone"), tmp_path)
    (tmp_path / "pvc-gone").mkdir()
    (tmp_path / "pvc-gone" / "model").touch()
    api = Recorded([gone], [claim("bad"), claim("good")], refused="bad")
    assert Provisioner(api, tmp_path).reconcile() is False
    assert (api.deleted, api.made) == (["pvc-gone"], ["pvc-good"])
    assert api.patched == [("pvc-gone", {"metadata": {"finalizers": []}})]
    assert not (tmp_path / "pvc-gone").exists()
    assert (tmp_path / "pvc-good").is_dir()
    assert "store: refused" in capsys.readouterr().out


def test_a_cluster_that_lost_its_memory_gives_a_claim_the_folder_that_it_had(tmp_path, capsys):
    Provisioner(Recorded([], [claim("before")]), tmp_path).reconcile()
    (tmp_path / "pvc-before" / "model").touch()
    # Neither the volume nor the claim of before is known any more.
    api = Recorded([], [claim("now")])
    Provisioner(api, tmp_path).reconcile()
    assert api.made == ["pvc-now"]
    assert (tmp_path / "pvc-now" / "model").exists()
    assert not (tmp_path / "pvc-before").exists()
    assert "pvc-now is pvc-before, which team/store had" in capsys.readouterr().out


def test_volumes_of_an_earlier_version_are_noted_down_when_they_are_seen(tmp_path):
    (tmp_path / "pvc-1").mkdir()
    Provisioner(Recorded([volume_for(claim("1"), tmp_path)], [claim("1")]), tmp_path).reconcile()
    assert (tmp_path / ".claims" / "pvc-1").read_text() == "team/store"


def test_a_folder_is_given_to_no_claim_of_another_name_and_none_while_its_volume_is_there(tmp_path):
    """Nor is one that was half removed: its note goes first."""
    volume = volume_for(claim("1"), tmp_path)
    Provisioner(Recorded([], [claim("1")]), tmp_path).reconcile()
    other = claim("2")
    other["metadata"]["name"] = "another"
    Provisioner(Recorded([], [other]), tmp_path).reconcile()
    assert (tmp_path / "pvc-1").is_dir() and (tmp_path / "pvc-2").is_dir()
    Provisioner(Recorded([volume], [claim("1"), claim("3")]), tmp_path).reconcile()
    assert (tmp_path / "pvc-1").is_dir() and (tmp_path / "pvc-3").is_dir()
    Provisioner(Recorded([volume], []), tmp_path).reconcile()
    assert not (tmp_path / ".claims" / "pvc-1").exists()

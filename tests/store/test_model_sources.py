"""Models that can be copied, found and copied in a real store, within it and from another one."""

from pathlib import Path

import pytest

from infra.run import checksums
from store import model_sources
from store.client import Client, connect
from store.errors import Changed
from store.model_sources import NoModel, content_of
from store.models import Damaged, parse_manifest
from store.objects import list_files, read, write
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.store.test_models import a_second_later, put_version

GRAPH = b"\x08\x01graph"
FILES = {"saved_model.pb": GRAPH, "variables/weights": b"w" * 1000}
RUN = "a" * 64


@pytest.fixture
def model(bucket: S3Url) -> S3Url:
    return bucket / "models/toy"


def put_plain(client: Client, url: S3Url) -> None:
    for path, content in FILES.items():
        write(client, url / path, content)


def content(client: Client, url: S3Url) -> dict[str, bytes]:
    return {one.path: read(client, url / one.path) for one in list_files(client, url)}


class TestFind:
    def test_takes_the_folder_of_a_version(self, client: Client, model: S3Url) -> None:
        put_version(client, model, 2, RUN, FILES)
        found = model_sources.find(client, model / "2")
        assert found.manifest is not None and found.manifest.run_hash == RUN
        assert found.place == model / "2"
        assert found.identity == content_of(found.manifest.files)

    def test_takes_the_newest_of_a_model(self, client: Client, model: S3Url) -> None:
        put_version(client, model, 2, RUN, FILES)
        put_version(client, model, 10, RUN, FILES)
        # One that is about to be published does not exist for readers.
        write(client, model / "11/.claim", b"")
        put_plain(client, model / "11")
        assert model_sources.find(client, model).place == model / "10"

    def test_passes_over_a_damaged_one(self, client: Client, model: S3Url) -> None:
        put_version(client, model, 2, RUN, FILES)
        put_version(client, model, 3, RUN, FILES)
        write(client, model / "3/saved_model.pb", b"")
        assert model_sources.find(client, model).place == model / "2"
        with pytest.raises(Damaged, match="3/saved_model.pb' has 0 bytes"):
            model_sources.find(client, model / "3")
        write(client, model / "2/saved_model.pb", b"")
        with pytest.raises(NoModel, match="has no version that is intact"):
            model_sources.find(client, model)

    @pytest.mark.parametrize("where", ["", "7"])
    def test_takes_a_saved_model_of_ones_own(
        self, client: Client, model: S3Url, where: str
    ) -> None:
        """In a folder, or in a folder of versions as TensorFlow Serving has them."""
        folder = model / where if where else model
        put_plain(client, folder)
        if where:
            put_plain(client, model / "6")
        found = model_sources.find(client, model)
        assert (found.place, found.manifest) == (folder, None)
        assert [one.path for one in found.files] == sorted(FILES)
        before = found.identity
        assert model_sources.find(client, model).identity == before
        write(client, folder / "variables/weights", b"v" * 1000)
        assert model_sources.find(client, model).identity != before

    def test_says_that_nothing_is_there(self, client: Client, model: S3Url) -> None:
        with pytest.raises(NoModel, match="There is nothing at 's3://.*/models/toy'"):
            model_sources.find(client, model)

    def test_says_what_is_there_in_place_of_a_model(self, client: Client, model: S3Url) -> None:
        for name in ("model.keras", "a.txt", "b.txt", "c.txt"):
            write(client, model / name, b"x")
        with pytest.raises(NoModel, match="no SavedModel: .* 'a.txt', 'b.txt', 'c.txt' and 1 more"):
            model_sources.find(client, model)

    @pytest.mark.parametrize("begins", [b"", b"PK\x03\x04"])
    def test_refuses_what_only_has_the_name(
        self, client: Client, model: S3Url, tmp_path: Path, begins: bytes
    ) -> None:
        write(client, model / "saved_model.pb", begins)
        with pytest.raises(NoModel, match="saved_model.pb' is not a SavedModel"):
            model_sources.find(client, model)
        (tmp_path / "saved_model.pb").write_bytes(begins)
        with pytest.raises(NoModel, match="saved_model.pb' is not a SavedModel"):
            model_sources.in_folder(tmp_path, checksums.of)


class TestAFolderOfThisMachine:
    def test_is_a_model_with_the_identity_of_its_content(
        self, client: Client, model: S3Url, tmp_path: Path
    ) -> None:
        for path, one in FILES.items():
            (tmp_path / "3" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "3" / path).write_bytes(one)
        found = model_sources.in_folder(tmp_path, checksums.of)
        assert found.place == tmp_path / "3"
        put_version(client, model, 1, RUN, FILES)
        assert found.identity == model_sources.find(client, model).identity
        files = model_sources.copy(None, found, client, model / "9")
        assert content(client, model / "9") == FILES
        assert content_of(files) == found.identity

    def test_without_one_says_what_it_has(self, tmp_path: Path) -> None:
        with pytest.raises(NoModel, match="gone' is not a folder"):
            model_sources.in_folder(tmp_path / "gone", checksums.of)
        (tmp_path / "model.keras").touch()
        with pytest.raises(NoModel, match="has no SavedModel: .* 'model.keras'"):
            model_sources.in_folder(tmp_path, checksums.of)


class TestCopy:
    @pytest.mark.parametrize("through", ["the store", "this machine"])
    def test_has_all_files_and_their_checksums(
        self, client: Client, object_store: SeaweedFS, model: S3Url, through: str
    ) -> None:
        put_version(client, model, 1, RUN, FILES)
        source = client
        if through == "this machine":
            connect.cache_clear()
            source = connect(object_store.access(), direct=True)
            assert source is not client
        found = model_sources.find(source, model / "1")
        files = model_sources.copy(source, found, client, model / "5")
        assert content(client, model / "5") == FILES
        assert found.manifest is not None and files == list(found.manifest.files)

    def test_of_a_plain_one_counts_them(self, client: Client, model: S3Url) -> None:
        put_plain(client, model)
        files = model_sources.copy(client, model_sources.find(client, model), client, model / "1")
        published = parse_manifest(
            read(client, put_version(client, model / "other", 1, RUN, FILES) / "manifest.json"), ""
        )
        assert sorted(files, key=str) == sorted(published.files, key=str)

    def test_refuses_what_was_written_meanwhile(self, client: Client, model: S3Url) -> None:
        put_plain(client, model)
        found = model_sources.find(client, model)
        write(client, model / "variables/weights", b"other")
        with pytest.raises(Changed):
            model_sources.copy(client, found, client, model / "1")

    def test_refuses_a_content_that_its_manifest_does_not_know(
        self, client: Client, object_store: SeaweedFS, model: S3Url
    ) -> None:
        """Of the same size, written in the second in which the manifest was."""
        put_version(client, model, 1, RUN, FILES)
        found = model_sources.find(client, model / "1")
        a_second_later(client, model / "1/saved_model.pb", b"\x08\x01GRAPH")
        with pytest.raises(Damaged, match="SHA-256"):
            model_sources.find(client, model / "1")
        with pytest.raises(Changed):
            model_sources.copy(client, found, client, model / "5")

"""Objects read as they are needed: places, reading ahead, hiccups, contents that change."""

import io
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from urllib3.exceptions import ProtocolError

from store import streams
from store.client import Client, from_environment
from store.errors import Changed, Forbidden, Gone, Unreachable
from store.objects import delete, list_files, write
from store.streams import Content, ObjectFile, in_order, read_range
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.store_gate import Gate

CONTENT = random.Random(1).randbytes(3 * 2**20 + 17)


def put(client: Client, url: S3Url, content: bytes = CONTENT) -> Content:
    """Put an object; return it as it is listed."""
    write(client, url, content)
    folder, _, name = url.prefix.rpartition("/")
    (entry,) = [one for one in list_files(client, S3Url(url.bucket, folder)) if one.path == name]
    return Content(url, entry.size, entry.etag)


@pytest.fixture
def content(client: Client, bucket: S3Url) -> Content:
    return put(client, bucket / "data/a b")


def recorded_ranges(client: Client) -> list[str]:
    """A list that gets the range of each request that `client` makes."""
    ranges: list[str] = []
    client.requests = None
    get = client.s3.get_object

    def recorded(**request: Any) -> Any:
        ranges.append(request["Range"].removeprefix("bytes="))
        return get(**request)

    client.s3.get_object = recorded  # type: ignore[method-assign]
    return ranges


@pytest.mark.parametrize("piece", [100_000, 2**20, 2**23])
def test_a_file_is_read_from_beginning_to_end(
    client: Client, content: Content, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(streams, "PIECE_BYTES", 2**20)
    with io.BufferedReader(ObjectFile(client, content), 2**18) as file:
        assert b"".join(iter(lambda: file.read(piece), b"")) == CONTENT
        assert file.read(10) == b""
        file.seek(0)
        assert file.read() == CONTENT


def test_what_is_read_on_is_asked_for_ahead_and_once(
    client: Client, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PIECE_BYTES", 2**19)
    ranges = recorded_ranges(client)
    with io.BufferedReader(ObjectFile(client, content), 2**16) as file:
        assert b"".join(iter(lambda: file.read(1000), b"")) == CONTENT
    places = sorted(tuple(map(int, one.split("-"))) for one in ranges)
    assert [first for first, _ in places[1:]] == [last + 1 for _, last in places[:-1]]
    assert places[0][0] == 0 and places[-1][1] == len(CONTENT) - 1


def test_who_goes_from_place_to_place_gets_no_more_than_is_near(
    client: Client, content: Content
) -> None:
    ranges = recorded_ranges(client)
    with io.BufferedReader(ObjectFile(client, content), 2**12) as file:
        assert file.seek(-8, io.SEEK_END) == len(CONTENT) - 8
        assert file.read() == CONTENT[-8:]
        for first, count in ((2_000_000, 10), (5, 700_000), (1_000_000, 3)):
            file.seek(first)
            assert file.read(count) == CONTENT[first : first + count]
    read = sum(int(last) - int(first) + 1 for first, _, last in (r.partition("-") for r in ranges))
    assert read < 4 * 2**18 + 700_000


class _Hiccups:
    """Answers that are cut after some bytes, or refused, as often as is said."""

    def __init__(self, client: Client, answers: list[Callable[[Any], Any]]) -> None:
        self.ranges: list[str] = []
        client.requests = None
        self._answers, self._get = answers, client.s3.get_object
        client.s3.get_object = self  # type: ignore[method-assign,assignment]

    def __call__(self, **request: Any) -> Any:
        self.ranges.append(request["Range"])
        answer = self._get(**request)
        return self._answers.pop(0)(answer) if self._answers else answer


def cut_after(count: int) -> Callable[[Any], Any]:
    """The connection is cut when so many bytes have come."""

    def cut(answer: Any) -> Any:
        raw = answer["Body"]._raw_stream
        read, left = raw.readinto, [count]

        def readinto(target: Any) -> int:
            if not left[0]:
                raise ProtocolError("cut")
            some: int = read(target[: left[0]])
            left[0] -= some
            return some

        raw.readinto = readinto
        return answer

    return cut


def test_a_cut_connection_is_read_on_at_the_byte_where_it_was(
    client: Client, content: Content
) -> None:
    hiccups = _Hiccups(client, [cut_after(500_000), cut_after(1)])
    assert read_range(client, content, 100, 2_000_000) == CONTENT[100:2_000_100]
    firsts = [int(one.removeprefix("bytes=").partition("-")[0]) for one in hiccups.ranges]
    assert firsts == [100, 500_100, 500_101]


def test_connections_that_are_cut_on_the_wire_cost_little_more(
    environment: SeaweedFS, client: Client, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gate(environment) as gate:
        gate.cuts = [700_000, 300, 1_500_000, 400_000]
        gate.open()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gate.url)
        through = from_environment()
        assert through.requests is not None
        send, firsts = through.requests.send, []

        def recorded(*what: str, headers: dict[str, str], **how: Any) -> Any:
            firsts.append(int(headers["range"].removeprefix("bytes=").partition("-")[0]))
            return send(*what, headers=headers, **how)

        monkeypatch.setattr(through.requests, "send", recorded)
        assert read_range(through, content, 0, len(CONTENT)) == CONTENT
        through.close()
    # Of each cut answer, less than a step is read again.
    assert gate.cuts == []
    assert all(later >= earlier for earlier, later in pairwise(firsts))
    assert firsts[0] == 0 and 700_000 - 2**18 < next(filter(None, firsts)) < 700_000


def test_another_content_is_an_error_in_words_and_never_a_mixture(
    client: Client, content: Content
) -> None:
    with io.BufferedReader(ObjectFile(client, content), 2**16) as file:
        file.read(100)
        write(client, content.url, CONTENT[::-1])
        with pytest.raises(Changed, match="a b' has changed since this training began to read"):
            file.read()
    delete(client, content.url)
    with pytest.raises(Gone, match="a b' is gone since this training began to read"):
        read_range(client, content, 0, 10)


def test_a_store_that_heeds_no_condition_gives_no_mixture_either(
    client: Client, content: Content
) -> None:
    client.requests = None
    get = client.s3.get_object

    def heedless(**request: Any) -> Any:
        del request["IfMatch"]
        return get(**request)

    client.s3.get_object = heedless  # type: ignore[method-assign]
    assert read_range(client, content, 0, 9) == CONTENT[:9]
    with pytest.raises(Changed):
        read_range(client, replace(content, etag='"other"'), 0, 9)


def test_what_a_store_refuses_for_good_is_not_tried_again(client: Client, content: Content) -> None:
    asked = []
    client.requests = None

    def refused(**_: Any) -> Any:
        asked.append(1)
        raise Forbidden("no")

    client.s3.get_object = refused  # type: ignore[method-assign]
    with pytest.raises(Forbidden):
        read_range(client, content, 0, 9)
    assert len(asked) == 1


def test_a_store_that_stays_away_is_given_up_after_a_while(
    client: Client, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE_SECONDS", 0.5)
    client.requests = None

    def away(**_: Any) -> Any:
        raise Unreachable("away")

    client.s3.get_object = away  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        read_range(client, content, 0, 9)


def test_items_come_in_their_order_and_some_are_under_way() -> None:
    barrier = threading.Barrier(3, timeout=60)

    def action(item: int) -> int:
        barrier.wait()
        return item * item

    assert list(in_order(action, range(9), ahead=2)) == [n * n for n in range(9)]
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 // item, [1, 0, 1], ahead=2))

"""Lines of a boot file's output: bars, output without an end, ends that are cut in two."""

import subprocess
import sys

import pytest

from training.agent.output import LINE_BYTES, OutputLines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cut(clock: Clock, *chunks: bytes | float) -> list[bytes]:
    """Return the lines of chunks; a number lets so many seconds pass, as the agent does."""
    found: list[bytes] = []
    lines = OutputLines(found.append, clock)
    for chunk in chunks:
        if isinstance(chunk, bytes):
            lines.feed(chunk)
            continue
        until = clock.now + chunk
        while (seconds := lines.wait_seconds()) is not None and clock.now + seconds <= until:
            clock.now += seconds
            lines.idle()
        clock.now = until
    lines.finish()
    return found


def keras(*states: bytes) -> bytes:
    """What Keras' bar writes of one epoch."""
    return b"".join(b"\x08" * 9 * (n > 0) + b"\r" + state for n, state in enumerate(states)) + b"\n"


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\n\nb", [b"a", b"", b"b"]),
        (b"of Windows\r\n\r\nb\r\n", [b"of Windows", b"", b"b"]),
        (b"", []),
        (keras(b"1/3", b"2/3", b"3/3 loss 1") + b"Epoch 2\n", [b"3/3 loss 1", b"Epoch 2"]),
        (b"1%\r2%\r100%\rdone\n", [b"100%", b"done"]),
        (b"1%\r2%\r100%\r\nnext\n", [b"100%", b"next"]),
        (b"1%\x082%\x083%", [b"2%", b"3%"]),
        # tqdm, one bar within another.
        (b"\router 0\n\rinner 0\x1b[A\n\rinner 1\x1b[A\router 1\n", [b"outer 0", b"outer 1"]),
    ],
)
def test_lines_end_at_line_feeds_and_of_what_is_rewritten_the_last_state_is_kept(
    clock: Clock, output: bytes, lines: list[bytes]
) -> None:
    clock.now = 0.0
    found: list[bytes] = []
    one = OutputLines(found.append, clock)
    one._due = 1.0  # Something was shown a moment ago.
    one.feed(output)
    one.finish()
    assert [line.removesuffix(b"\n") for line in found] == lines


def test_output_means_the_same_however_it_is_cut(clock: Clock) -> None:
    output = b"a\r\n" + keras(b"1/2", b"2/2") + b"\x1b[2Kb\r\n10%\r20%\rend\n"
    whole = cut(clock, output)
    for size in (2, 3, 7):
        pieces = [output[at : at + size] for at in range(0, len(output), size)]
        # The first state is shown at once, however little of the others is here.
        assert cut(clock, *pieces)[-3:] == whole[-3:]


def test_a_bar_is_passed_on_twice_a_second_and_its_last_state_always(clock: Clock) -> None:
    steps: list[bytes | float] = [b"\r"]
    for n in range(100):
        steps += [b"%d/100" % n, 0.1, b"\x08" * 5 + b"\r"]
    found = cut(clock, *steps, b"100/100 - loss: 0.1\n", b"Epoch 2/3\n")
    assert 15 <= len(found) <= 22
    assert found[0] == b"0/100\n"
    assert found[-2:] == [b"100/100 - loss: 0.1\n", b"Epoch 2/3\n"]
    assert len(set(found)) == len(found)


def test_the_state_of_a_slow_bar_is_passed_on_before_its_next_one(clock: Clock) -> None:
    """Each tqdm state begins with its mark: nothing tells its end until the next one."""
    found: list[bytes] = []
    lines = OutputLines(found.append, clock)
    lines.feed(b"\r 10%")
    seconds = lines.wait_seconds()
    assert seconds is not None and seconds <= 0.5
    clock.now += seconds
    lines.idle()
    assert found == [b" 10%\n"]
    assert lines.wait_seconds() is None
    lines.feed(b"\n")
    assert found == [b" 10%\n"]


def test_output_without_an_end_is_cut_and_does_not_stay_in_memory(clock: Clock) -> None:
    found: list[bytes] = []
    lines = OutputLines(found.append, clock)
    for _ in range(100):
        lines.feed(b"x" * 10_000)
        assert len(lines._rest) <= LINE_BYTES
    lines.finish()
    assert b"".join(found).replace(b"\n", b"") == b"x" * 1_000_000
    assert max(map(len, found)) == LINE_BYTES + 1


def test_a_prompt_is_one_line_with_what_follows_it(clock: Clock) -> None:
    assert cut(clock, b"loading ... ", 30.0, b"done\n") == [b"loading ... done\n"]


def test_the_bar_of_keras_itself(clock: Clock) -> None:
    program = (
        "import time, sys\n"
        "from keras.src.utils.progbar import Progbar\n"
        "for epoch in range(2):\n"
        "    bar = Progbar(20, verbose=1)\n"
        "    for n in range(20):\n"
        "        bar.update(n + 1, [('loss', 1.0)])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    found = cut(clock, done.stdout)
    assert len(found) < 6
    assert b"20/20" in found[-1] and b"loss" in found[-1]

"""How large the outputs of a signature will be: known before it runs, so that they have room."""

from __future__ import annotations


class OutputSizes:
    """Remembers the largest outputs by the size of the inputs that gave them.

    Nothing is extrapolated: outputs are expected to be as large as any that inputs of at most this
    size have given, or as large as the inputs.
    """

    def __init__(self) -> None:
        self._largest: dict[int, int] = {}
        """Bits of the inputs' size in bytes to the outputs' in bytes."""

    def expected(self, input_bytes: int) -> int:
        """Return how many bytes of outputs to expect for inputs of this size."""
        bits = input_bytes.bit_length()
        # A copy: other threads learn meanwhile.
        seen = [most for known, most in self._largest.copy().items() if known <= bits]
        return max([input_bytes, *seen])

    def learn(self, input_bytes: int, output_bytes: int) -> None:
        """Take note of what a run gave."""
        bits = input_bytes.bit_length()
        # Threads may race here: at worst one of their measurements is lost.
        if output_bytes > self._largest.get(bits, 0):
            self._largest[bits] = output_bytes

"""How many pods a Deployment has: a fixed number, or as many as its load asks for."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """From how many to how many pods."""

    least: int
    most: int | None = None
    """None: always `least`."""
    cpu_percent: int = 70
    """Of what the model servers reserve: they get more pods above it, fewer below it."""

    def nearest(self, pods: int) -> int:
        """Return the number of pods in these bounds that is nearest to `pods`."""
        most = self.least if self.most is None else self.most
        return min(max(pods, self.least), most)

    def __str__(self) -> str:
        if self.most is None:
            return str(self.least)
        return f"{self.least} to {self.most} at {self.cpu_percent}% of the CPU"

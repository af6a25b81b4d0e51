"""The rate of a rebuild, and its remaining time. Pure."""

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_KEPT_SECONDS = 10.0


class Mark(NamedTuple):
    """The progress of a rebuild at a time in seconds; `bodies` is None for one from observations.

    Each count is (done, total); `others` are those of further processors, by name.
    """

    at: float
    bodies: tuple[int, int] | None
    observations: tuple[int, int]
    others: Mapping[str, tuple[int, int]] = MappingProxyType({})


class Pace:
    """Rates over the last seconds, and the estimates that follow from them."""

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque()

    def add(self, mark: Mark) -> None:
        self._marks.append(mark)
        while self._marks[-1].at - self._marks[0].at > _KEPT_SECONDS and len(self._marks) > 2:  # noqa: PLR2004
            self._marks.popleft()

    @property
    def bodies(self) -> float:
        """Bodies normalised per second."""
        first, last = self._marks[0], self._marks[-1]
        if first.bodies is None or last.bodies is None:
            return 0.0
        return _rate(last.bodies[0] - first.bodies[0], last.at - first.at)

    @property
    def observations(self) -> float:
        """Observations tracked per second."""
        first, last = self._marks[0], self._marks[-1]
        return _rate(last.observations[0] - first.observations[0], last.at - first.at)

    @property
    def expected(self) -> int:
        """The expected number of observations, if the remaining bodies resemble those so far."""
        last = self._marks[-1]
        if not last.bodies or not last.bodies[0]:
            return last.observations[1]
        return round(last.observations[1] * max(1.0, last.bodies[1] / last.bodies[0]))

    @property
    def left_seconds(self) -> float | None:
        """The remaining seconds; None if unknown."""
        last = self._marks[-1]
        left = [(self.expected - last.observations[0], self.observations)]
        if last.bodies is not None:
            left.append((last.bodies[1] - last.bodies[0], self.bodies))
        if any(count > 0 and not rate for count, rate in left):
            return None
        return max(count / rate if count > 0 else 0.0 for count, rate in left)


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0

"""How much work is taken at once: less after a failure, more after a success. Pure."""

from typing import NamedTuple, Self


class Cut(NamedTuple):
    """At most `size` records are taken at once, and never more than `most`.

    What took too long, or could not be committed, is halved when it is repeated, down to one: so it
    does not come again as it was.
    """

    most: int
    size: int

    @classmethod
    def whole(cls, most: int) -> Self:
        return cls(most, most)

    def failed(self, taken: int) -> Self:
        """After so many records failed; none: the failure is not theirs."""
        return self._replace(size=max(1, min(self.size, taken) // 2)) if taken else self

    def passed(self) -> Self:
        """After what was taken is committed."""
        return self if self.size == self.most else self._replace(size=min(self.most, 2 * self.size))


class Polls(NamedTuple):
    """At most `size` records are polled at once, so that they hold about `budget` bytes."""

    most: int
    budget: int
    size: int

    def after(self, records: int, size: int) -> Self:
        """After a poll gave so many records of so many bytes together."""
        if not records:
            return self
        fitting = self.budget * records // max(size, 1)
        return self._replace(size=max(1, min(self.most, 2 * self.size, fitting)))

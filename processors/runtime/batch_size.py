"""The size of the next batch or poll: smaller after a failure, larger after a success. Pure."""

from typing import NamedTuple, Self


class Cut(NamedTuple):
    """A batch has at most `size` records, and never more than `most`.

    A batch that took too long, or could not be committed, is halved when it is repeated, down to
    one record. So a failing batch is not repeated unchanged.
    """

    most: int
    size: int

    @classmethod
    def whole(cls, most: int) -> Self:
        return cls(most, most)

    def failed(self, taken: int) -> Self:
        """Return the size after a batch of `taken` records failed; 0: they are not the cause."""
        return self._replace(size=max(1, min(self.size, taken) // 2)) if taken else self

    def passed(self) -> Self:
        """Return the size after a batch was committed."""
        return self if self.size == self.most else self._replace(size=min(self.most, 2 * self.size))


class Polls(NamedTuple):
    """A poll returns at most `size` records, so that they hold about `budget` bytes."""

    most: int
    budget: int
    size: int

    def after(self, records: int, size: int) -> Self:
        """Return the size after a poll returned `records` records of `size` bytes in total."""
        if not records:
            return self
        fitting = self.budget * records // max(size, 1)
        return self._replace(size=max(1, min(self.most, 2 * self.size, fitting)))

"""The size of the next batch or poll, and how long to wait for a larger one. Pure."""

from typing import NamedTuple, Self

# A batch with as many records is large enough: the next one does not wait.
MANY = 250

# A rest adds to the delay of records, by half of it on average.
REST_SECONDS = 0.05


def rest_seconds(took: float, records: int = 0) -> float:
    """Return how long to wait after a batch of `records` that took `took` seconds.

    A batch costs the broker as much as hundreds of records. After a small one the next begins as
    much later as it took: an idle broker is asked soon, a busy one less often, with more records.
    """
    return 0.0 if records >= MANY else min(took, REST_SECONDS)


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

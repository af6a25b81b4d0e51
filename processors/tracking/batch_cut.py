"""The size of a partition's next batch, and the messages that it sets aside unseen."""

from processors.runtime.batch_size import Cut
from processors.runtime.record_batches import TooLargeError
from processors.tracking.tracking_dead_letters import SetAside
from service.errors import Problem

# The most records that are sent separately, to find the refused one.
_APART = 500


class BatchCut:
    """A batch that takes too long, or that Kafka refuses as too large, is smaller when repeated.

    `apart` is whether its records are sent separately. `unwanted` are the messages to set aside.
    """

    def __init__(self, most: int) -> None:
        self.apart = False
        self.unwanted: dict[str, SetAside] = {}
        self._cut = Cut.whole(most)

    @property
    def size(self) -> int:
        """The most records of the next batch."""
        return self._cut.size

    def passed(self) -> None:
        """Note that a batch was committed."""
        self._cut, self.apart, self.unwanted = self._cut.passed(), False, {}

    def failed(self, taken: int) -> None:
        """Note that a batch of `taken` records and timers took too long."""
        self._cut = self._cut.failed(taken)

    def refused(self, error: TooLargeError) -> None:
        """Find the messages that Kafka refuses, in one more attempt, and then set them aside.

        If Kafka refuses their dead letters, these are sent without a value.
        """
        if not self.apart:
            self.apart = True
            self._cut = self._cut._replace(size=min(self._cut.size, _APART))
            return
        self.apart = False
        for key in error.owners:
            known = self.unwanted.get(key)
            if known is not None and known.valueless:
                raise Problem("dead_letter_refused", why=str(error))
            self.unwanted[key] = SetAside.refused(str(error), again=known is not None)

"""When Kafka's newest answer to a consumer was asked for, by a clock that is never set."""

import math


class Answers:
    """Keeps a time before which the newest answer was not asked for.

    A consumer asks again only once it has an answer, so the newest answer was asked for after the
    one before it had come; and that came after the last look at which it was not there.
    """

    def __init__(self) -> None:
        self.asked = -math.inf  # the newest answer was asked for no earlier
        self._newest: object = None
        self._came = -math.inf  # it came no earlier
        self._looked = -math.inf

    def look(self, answer: object, now: float) -> None:
        """Note which answer is the newest at `now`, seconds that only go up."""
        if answer != self._newest:
            self._newest = answer
            self.asked, self._came = self._came, self._looked
        self._looked = now

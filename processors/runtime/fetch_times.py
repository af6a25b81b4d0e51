"""The request time of the newest fetch response of a consumer, by a monotonic clock."""

import math


class FetchTimes:
    """Keeps the earliest possible request time of the newest response.

    A consumer sends a request only after the previous response. So the newest response was
    requested after the previous one arrived, which was after the last call that did not see it.
    """

    def __init__(self) -> None:
        self.requested = -math.inf  # the newest response was requested no earlier
        self._newest: object = None
        self._arrived = -math.inf  # it arrived no earlier
        self._observed = -math.inf

    def observe(self, response: object, now: float) -> None:
        """Record the newest response at `now`, seconds of a monotonic clock."""
        if response != self._newest:
            self._newest = response
            self.requested, self._arrived = self._arrived, self._observed
        self._observed = now

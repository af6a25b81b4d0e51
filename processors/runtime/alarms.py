"""Alarms: problems of a running process that need a person. Logged, repeated, shown by health."""

import math
from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from structlog.stdlib import BoundLogger

from service.log_events import Notice

_REMIND_SECONDS = 60.0


class LogLimit:
    """Limits the log to one line a minute for each cause, and counts the omitted lines.

    Times are seconds of a monotonic clock.
    """

    def __init__(self) -> None:
        self._logged: dict[Hashable, float] = {}
        self._skipped: Counter[Hashable] = Counter()

    def due(self, cause: Hashable, now: float) -> bool:
        """Whether a line about the cause may be logged now."""
        if now - self._logged.get(cause, -math.inf) < _REMIND_SECONDS:
            self._skipped[cause] += 1
            return False
        self._logged[cause] = now
        return True

    def skipped(self, cause: Hashable) -> int:
        """Return the number of omitted lines about the cause, and reset it."""
        return self._skipped.pop(cause, 0)

    def forget(self, cause: Hashable) -> None:
        """Allow the next line about the cause at once."""
        self._logged.pop(cause, None)
        self._skipped.pop(cause, None)


class _Alarm(NamedTuple):
    notice: Notice
    until: float


class Alarms:
    """Notices by their cause, each logged as an ERROR at once and again every minute.

    Times are seconds of a monotonic clock.
    """

    def __init__(self, log: BoundLogger) -> None:
        self._log = log
        self._alarms: dict[Hashable, _Alarm] = {}
        self._limit = LogLimit()

    def raise_(self, cause: Hashable, notice: Notice, now: float, lasts: float = math.inf) -> None:
        """Raise or prolong an alarm; it ends by itself after `lasts` seconds."""
        self._alarms[cause] = _Alarm(notice, now + lasts)
        self.remind(now)

    def clear(self, cause: Hashable) -> None:
        self._alarms.pop(cause, None)
        self._limit.forget(cause)

    def causes(self) -> list[Hashable]:
        return list(self._alarms)

    def sentences(self, now: float) -> list[str]:
        """Return the sentences of the alarms that have not ended."""
        return [str(alarm.notice) for alarm in self._alarms.values() if now < alarm.until]

    def remind(self, now: float) -> None:
        """Log each alarm that was not logged for a minute; remove the alarms that have ended."""
        for cause, alarm in list(self._alarms.items()):
            if now >= alarm.until:
                self.clear(cause)
            elif self._limit.due(cause, now):
                self._log.error(alarm.notice.event, **alarm.notice.fields)

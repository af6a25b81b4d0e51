"""What a person has to look at while a process goes on: logged, repeated, and shown by health."""

import logging
import math
from collections.abc import Hashable
from dataclasses import dataclass

_REMIND_SECONDS = 60.0


@dataclass(slots=True)
class _Alarm:
    sentence: str
    until: float
    said_at: float


class Alarms:
    """Sentences by their cause, each logged as an ERROR at once and again every minute.

    Times are seconds of any clock that does not go back.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._alarms: dict[Hashable, _Alarm] = {}

    def raise_(self, cause: Hashable, sentence: str, now: float, lasts: float = math.inf) -> None:
        """Raise an alarm, or keep it up; it ends by itself after `lasts` seconds."""
        known = self._alarms.get(cause)
        said_at = known.said_at if known else -math.inf
        self._alarms[cause] = _Alarm(sentence, now + lasts, said_at)
        self.remind(now)

    def clear(self, cause: Hashable) -> None:
        self._alarms.pop(cause, None)

    def causes(self) -> list[Hashable]:
        return list(self._alarms)

    def sentences(self, now: float) -> list[str]:
        """What is wrong now."""
        return [alarm.sentence for alarm in self._alarms.values() if now < alarm.until]

    def remind(self, now: float) -> None:
        """Log what was not logged for a minute; forget what has ended."""
        for cause, alarm in list(self._alarms.items()):
            if now >= alarm.until:
                del self._alarms[cause]
            elif now - alarm.said_at >= _REMIND_SECONDS:
                alarm.said_at = now
                self._log.error("%s", alarm.sentence)

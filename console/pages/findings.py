"""What `bluetick doctor` finds, kept for some seconds: several pages and people ask for it."""

import asyncio
import time
from collections.abc import Sequence

from cli.doctor import doctor
from cli.doctor.doctor import Part
from cli.doctor.facts import Group
from service.settings import Settings

_SECONDS = 5.0


class Findings:
    """The parts of the installation, with their facts and findings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: Sequence[Part] = ()
        self._until = 0.0
        self._looking = asyncio.Lock()

    async def parts(self) -> Sequence[Part]:
        """Return the parts as they were some seconds ago at most; each may have failed."""
        async with self._looking:
            if time.monotonic() >= self._until:
                self._parts = await doctor.parts(self._settings)
                self._until = time.monotonic() + _SECONDS
            return self._parts


def groups_in(parts: Sequence[Part]) -> list[Group]:
    """Return the processors' groups that could be looked at."""
    return [part.facts for part in parts if isinstance(part.facts, Group)]


def lag_of(group: Group) -> int:
    """Return the number of records that a group has not processed."""
    return sum(place.lag for place in group.places)


def waiting_of(group: Group) -> float:
    """Return the age in seconds of the oldest record that a group has not processed."""
    return max((place.waiting or 0.0 for place in group.places), default=0.0)


def alarms_in(parts: Sequence[Part]) -> list[tuple[str, str, str, str]]:
    """Return part, level, sentence and remedy of each problem and warning, problems first."""
    found = [
        (part.name, finding.level, finding.message, finding.remedy)
        for part in parts
        for finding in part.findings
        if finding.level in ("problem", "warning")
    ]
    return sorted(found, key=lambda one: one[1] != "problem")

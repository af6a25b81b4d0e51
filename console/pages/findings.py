"""What `bluetick doctor` finds, kept for some seconds; and what the pages say of it."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cli.doctor import doctor
from cli.doctor.doctor import Part
from cli.doctor.facts import Group, Ingest, Spool
from cli.doctor.ingest_checks import SILENT_SECONDS, is_silent
from cli.output.ages import age_text
from console.pages.formats import count, share
from console.pages.verdict import Alarm, Level
from service.settings import Settings

_SECONDS = 5.0

_RAISED: Mapping[str, Level] = {"problem": "problem", "warning": "warning"}


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


class Word(NamedTuple):
    """A name, a word about it with the class of its colour, and what else there is to say."""

    name: str
    text: str
    tone: str
    detail: str = ""


def ingest_in(parts: Sequence[Part]) -> Word:
    """Return whether ingest accepts webhooks, and how full its spool is."""
    found = _facts_of(parts, "ingest")
    if not isinstance(found, Ingest):
        return Word("ingest", "unknown", "")
    if found.why:
        elsewhere = "if it runs on another machine, look there"
        return Word("ingest", "no answer", "", f"{found.address}: {found.why}; {elsewhere}")
    fill = "" if found.fill is None else f"spool {share(found.fill)} full"
    held = f"{count(found.bodies)} bodies wait for Kafka" if found.bodies else ""
    detail = ", ".join(filter(None, (fill or "without a spool", held)))
    if found.problems:
        return Word("ingest", "not ready", "bad", "; ".join((*found.problems, detail)))
    if found.warnings:
        return Word("ingest", "degraded", "warn", "; ".join((*found.warnings, detail)))
    return Word("ingest", "ready", "good", detail)


def arrivals_in(parts: Sequence[Part]) -> list[Word]:
    """Return, by provider and by source of another name, when the last webhook came."""
    providers = _facts_of(parts, "webhooks") or []
    ingest = _facts_of(parts, "ingest")
    sources = ingest.sources if isinstance(ingest, Ingest) else {}
    names = {one.provider for one in providers}
    found = [_arrival(one.provider, one.age, stopped=is_silent(one)) for one in providers]
    return found + [
        _arrival(f"source {name}", age, stopped=False)
        for name, age in sorted(sources.items())
        if name not in names
    ]


def _arrival(name: str, age: float | None, *, stopped: bool) -> Word:
    if age is None:
        return Word(name, "none on Kafka", "")
    if age < SILENT_SECONDS:
        return Word(name, f"{age_text(age)} ago", "good")
    return Word(name, f"no webhook for {age_text(age)}", "bad" if stopped else "warn")


def _facts_of(parts: Sequence[Part], name: str) -> Any:
    return next((part.facts for part in parts if part.name == name), None)


def spooled_in(parts: Sequence[Part]) -> int | None:
    """Return how many bodies the spool on this machine holds; None without one."""
    spool = _facts_of(parts, "spool")
    if not isinstance(spool, Spool) or spool.directory is None:
        return None
    return sum(slot.bodies for slot in spool.slots)


def alarms_in(parts: Sequence[Part]) -> list[Alarm]:
    """Return each problem and warning, problems first."""
    return sorted(_alarms(parts), key=lambda one: one.level != "problem")


def silences_in(parts: Sequence[Part]) -> list[Alarm]:
    """Return a note for each provider that has sent nothing for an hour, if that is no alarm."""
    findings = [(part.name, one) for part in parts for one in part.findings]
    return [
        Alarm(name, "info", one.message, one.remedy)
        for name, one in findings
        if one.code == "webhooks_silent"
    ]


def _alarms(parts: Sequence[Part]) -> Iterator[Alarm]:
    for part in parts:
        for one in part.findings:
            if one.level in _RAISED:
                yield Alarm(part.name, _RAISED[one.level], one.message, one.remedy)

"""The overall verdict on the pipeline: all is well, or the most important problems. Pure."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from console.pages.formats import count, share
from console.read_model.results import Overview

Level = Literal["problem", "warning", "info"]

MOST = 5
"""Lines that are shown; the further ones are counted."""

_FAR_BEHIND = 10_000  # records of which a loader that keeps up has fewer

_LEADS_TO = {"webhooks": "#webhooks-title", "ingest": "#services-title", "spool": "#services-title"}
_ELSEWHERE = "/system#found-title"
_GROUPS = "/system#groups-title"
_RANKS: Sequence[Level] = ("problem", "warning", "info")


class Alarm(NamedTuple):
    """A problem or warning of a part of the installation, and what to do."""

    part: str
    level: Level
    sentence: str
    remedy: str


class Line(NamedTuple):
    """One sentence of the verdict, and the page that says more."""

    level: Level
    sentence: str
    href: str


class Verdict(NamedTuple):
    """A headline, the class of its colour, the most important lines, and how many more there are.

    `known` is False until the services have been looked at.
    """

    headline: str
    tone: Literal["good", "warn", "bad", ""]
    lines: Sequence[Line]
    more: int
    known: bool


def verdict(
    found: Overview, loading_problem: str, alarms: Sequence[Alarm] | None, groups: Sequence[str]
) -> Verdict:
    """Judge the numbers of the read model and the alarms; `alarms` are None before they are known.

    `groups` are the parts that are consumer groups. `loading_problem` is why the read model is not
    kept up to date, "" while it is.
    """
    of_alarms = [_of(one, groups) for one in alarms or ()]
    every = [*_of_model(found, loading_problem), *of_alarms, *_of_letters(found)]
    lines = sorted(every, key=lambda one: _RANKS.index(one.level))
    known = alarms is not None
    counts = {one: sum(line.level == one for line in lines) for one in _RANKS}
    words = [_counted(counts[one], one) for one in ("problem", "warning") if counts[one]]
    tone: Literal["bad", "warn", "good", ""] = "good" if known else ""
    if words:
        tone = "bad" if counts["problem"] else "warn"
    so_far = " and ".join(words) + ("" if known else " so far")
    headline = so_far if words else "All well" if known else "Looking at the services …"
    return Verdict(headline, tone, lines[:MOST], max(0, len(lines) - MOST), known)


def _of_model(found: Overview, loading_problem: str) -> Iterator[Line]:
    progress = found.progress
    behind = f"{count(progress.behind)} records are left"
    if loading_problem:
        sentence = (
            f"This console is not kept up to date: {loading_problem}. It tries again each second, "
            "and shows what it read before."
        )
        yield Line("problem", sentence, "/system")
    if progress.loading:
        sentence = f"This console is loading: {share(progress.share)} of the topics are read"
        yield Line("warning", f"{sentence}, {behind}. Its numbers grow until then.", "/system")
    elif progress.behind > _FAR_BEHIND:
        yield Line("warning", f"This console is behind: {behind} to read.", "/system")


def _of_letters(found: Overview) -> Iterator[Line]:
    if found.dead_letters_new:
        new = _counted(found.dead_letters_new, "new dead letter")
        yield Line("warning", f"{new} in the last 15 minutes.", "/dead-letters")
    elif found.dead_letters_open:
        still = _counted(found.dead_letters_open, "dead letter")
        yield Line("info", f"{still} still open, none new in 15 minutes.", "/dead-letters")


def _of(alarm: Alarm, groups: Sequence[str]) -> Line:
    href = _GROUPS if alarm.part in groups else _LEADS_TO.get(alarm.part, _ELSEWHERE)
    names_itself = alarm.part in groups or alarm.part in ("ingest", "webhooks")
    sentence = alarm.sentence if names_itself else f"{alarm.part}: {alarm.sentence}"
    sentence = sentence[:1].upper() + sentence[1:]
    words = f"{sentence}." + (f" To do: {alarm.remedy}." if alarm.remedy else "")
    return Line(alarm.level, words, href)


def _counted(number: int, what: str) -> str:
    return f"{count(number)} {what}{'' if number == 1 else 's'}"

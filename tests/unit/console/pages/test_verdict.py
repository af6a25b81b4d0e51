"""The verdict on top of the overview, and what it says of ingest: functions of values."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cli.doctor.doctor import Part
from cli.doctor.facts import Ingest, Webhooks
from cli.doctor.findings import Finding
from cli.doctor.ingest_checks import check_webhooks
from console.pages.findings import Word, alarms_in, arrivals_in, ingest_in, silences_in
from console.pages.verdict import MOST, Alarm, verdict
from console.read_model.results import Overview, Progress

READ = Progress(loading=False, behind=3, share=1.0, looked_at=0)
QUIET = Overview(
    now=0,
    since=0,
    hours=24,
    messages=9,
    stalled=2,
    contradicted=1,
    dead_letters_open=0,
    dead_letters_new=0,
    providers=[],
    progress=READ,
)
LAGGING = Alarm("track", "warning", "bluetick.track is 900 records behind", "start more workers")
NOT_READY = Alarm("ingest", "problem", "ingest refuses webhooks: the spool is full", "")
STOPPED = Alarm("webhooks", "problem", "whapi: no webhook for 3 h", "")
SILENT = Alarm("webhooks", "info", "whapi: no webhook for 2 d", "")
DISK = Alarm("disk", "warning", "/data: 3 GiB free", "")

Seen = tuple[Overview, str, Sequence[Alarm] | None]


@pytest.mark.parametrize(
    ("seen", "headline", "tone", "lines"),
    [
        ((QUIET, "", []), "All well", "good", []),
        ((QUIET, "", None), "Looking at the services …", "", []),
        (
            (QUIET, "", [SILENT]),
            "All well",
            "good",
            [("#webhooks-title", "Whapi: no webhook for 2 d.")],
        ),
        (
            (QUIET, "", [LAGGING]),
            "1 warning",
            "warn",
            [("/system#groups-title", "Bluetick.track is 900 records behind. To do: start more ")],
        ),
        (
            (QUIET, "", [LAGGING, DISK, NOT_READY, STOPPED]),
            "2 problems and 2 warnings",
            "bad",
            [
                ("#services-title", "Ingest refuses webhooks: the spool is full."),
                ("#webhooks-title", "Whapi: no webhook for 3 h."),
                ("/system#groups-title", "Bluetick.track is 900 records behind."),
                ("/system#found-title", "Disk: /data: 3 GiB free."),
            ],
        ),
        (
            (replace(QUIET, dead_letters_open=1200, dead_letters_new=1), "", []),
            "1 warning",
            "warn",
            [("/dead-letters", "1 new dead letter in the last 15 minutes.")],
        ),
        (
            (replace(QUIET, dead_letters_open=1200), "", []),
            "All well",
            "good",
            [("/dead-letters", "1,200 dead letters still open, none new in 15 minutes.")],
        ),
        (
            (replace(QUIET, progress=replace(READ, behind=20_000)), "", []),
            "1 warning",
            "warn",
            [("/system", "This console is behind: 20,000 records are left to read.")],
        ),
        (
            (replace(QUIET, progress=Progress(True, 500, 0.5, 0)), "", None),  # noqa: FBT003
            "1 warning so far",
            "warn",
            [("/system", "This console is loading: 50.0 % of the topics are read, 500 records")],
        ),
        (
            (QUIET, "no broker answers", [DISK]),
            "1 problem and 1 warning",
            "bad",
            [
                ("/system", "This console is not kept up to date: no broker answers."),
                ("/system#found-title", "Disk: /data: 3 GiB free."),
            ],
        ),
    ],
    ids=[
        *(
            "well",
            "not known yet",
            "a silent provider",
            "a warning",
            "problems first",
            "new dead letters",
        ),
        *("old dead letters", "behind", "loading", "not kept up to date"),
    ],
)
def test_the_verdict(
    seen: Seen, headline: str, tone: str, lines: Sequence[tuple[str, str]]
) -> None:
    found = verdict(*seen, ("normalise", "track", "measure"))
    assert (found.headline, found.tone, found.more) == (headline, tone, 0)
    assert [one.href for one in found.lines] == [href for href, _ in lines]
    for line, (_, begin) in zip(found.lines, lines, strict=True):
        assert line.sentence.startswith(begin)


def test_of_many_problems_the_first_are_shown_and_the_others_counted() -> None:
    found = verdict(QUIET, "", [DISK] * 4 + [NOT_READY] * 3, ())
    assert [one.level for one in found.lines] == ["problem"] * 3 + ["warning"] * (MOST - 3)
    assert found.more == 2
    assert found.headline == "3 problems and 4 warnings"


def _parts(**facts: object) -> list[Part]:
    return [Part(name, one, []) for name, one in facts.items()]


@pytest.mark.parametrize(
    ("ingest", "text", "tone", "detail"),
    [
        (None, "unknown", "", ""),
        (Ingest(address="http://a"), "ready", "good", "without a spool"),
        (Ingest(address="http://a", fill=0.25), "ready", "good", "spool 25.0 % full"),
        (
            Ingest(address="http://a", fill=0.25, bodies=1200, warnings=("Kafka is away",)),
            "degraded",
            "warn",
            "Kafka is away; spool 25.0 % full, 1,200 bodies wait for Kafka",
        ),
        (
            Ingest(address="http://a", fill=1.0, problems=("the spool is full",)),
            "not ready",
            "bad",
            "the spool is full; spool 100 % full",
        ),
        (
            Ingest(address="http://a", why="Connection refused"),
            "no answer",
            "",
            "http://a: Connection refused; if it runs on another machine, look there",
        ),
    ],
    ids=["not looked at", "no spool", "ready", "degraded", "not ready", "elsewhere"],
)
def test_the_state_of_ingest(ingest: Ingest | None, text: str, tone: str, detail: str) -> None:
    assert ingest_in(_parts(ingest=ingest)) == Word("ingest", text, tone, detail)


def test_a_silent_provider_is_said_plainly() -> None:
    """So is a source of another name; a provider that never sends is no alarm."""
    webhooks = [
        Webhooks(provider="quiet", age=3 * 3600.0, day_before=0),
        Webhooks(provider="stopped", age=3 * 3600.0, day_before=500),
        Webhooks(provider="busy", age=12.0, day_before=500),
        Webhooks(provider="unused", age=None, day_before=0),
    ]
    ingest = Ingest(address="http://a", sources={"busy": 12.0, "shop": 7300.0})
    assert arrivals_in(_parts(webhooks=webhooks, ingest=ingest)) == [
        Word("quiet", "no webhook for 3 h", "warn"),
        Word("stopped", "no webhook for 3 h", "bad"),
        Word("busy", "12 s ago", "good"),
        Word("unused", "none on Kafka", ""),
        Word("source shop", "no webhook for 2 h", "warn"),
    ]
    assert arrivals_in([]) == []


def test_alarms_are_problems_and_warnings() -> None:
    findings = [
        Finding("ok", "topics_fine", topics=3),
        Finding("warning", "clock_differs", offset=9.0),
        Finding("info", "spool_unset"),
        Finding("problem", "clock_differs", offset=99.0),
    ]
    found = alarms_in([Part("clock", None, findings)])
    assert [one.level for one in found] == ["problem", "warning"]


def test_a_silence_is_a_note_where_it_may_be_usual() -> None:
    """After a day of silence no norm is known any more; the verdict says it all the same."""
    webhooks = [
        Webhooks(provider="whapi", age=48 * 3600.0, day_before=0),
        Webhooks(provider="busy", age=12.0, day_before=500),
        Webhooks(provider="unused", age=None, day_before=0),
    ]
    parts = [Part("webhooks", webhooks, check_webhooks(webhooks))]
    assert silences_in(parts) == [SILENT]
    assert alarms_in(parts) == []

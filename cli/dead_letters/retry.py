"""`bluetick dead-letters retry`: normalise the raw bodies of dead letters by today's code."""

import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cli.dead_letters.causes import Selection, place
from cli.dead_letters.reader import chosen, finished, print_json, progress, standing
from cli.output.records import GOOD
from ingest.sources.loader import accounts
from processors.dead_letters.record import Identity
from processors.normalising.accounts import UNCORRECTED, Corrections
from processors.replay import dead_letter_retry
from processors.runtime.record_batches import UnsentError
from schemas.coordinates import Coordinates
from service.errors import Problem
from service.settings import Settings


def run(
    settings: Settings,
    meant: Selection,
    *,
    sources: Path | None,
    limit: int | None,
    dry: bool,
    json: bool,
) -> int:
    """Normalise the raw bodies of dead letters again; returns 1 if some are not there any more.

    The accounts in the file `sources` are permitted, beside those at reception.
    """
    corrections = accounts(sources) if sources else UNCORRECTED
    # All are read whatever is meant: a body's other dead letters must not be written again.
    bodies_of = frozenset(settings.topics.raw_topics)
    # A record of `observations` that is none has no body behind it.
    known = [
        kept
        for kept in chosen(finished(standing(settings, Selection())))
        if kept.entry.letter.raw.topic in bodies_of
        or kept.entry.letter.code != "not_an_observation"
    ]
    bodies: dict[Coordinates, set[Identity]] = {
        kept.entry.letter.raw: set()
        for kept in chosen((one for one in known if meant.holds(one.entry)), limit)
    }
    for kept in known:
        if kept.entry.letter.raw in bodies:
            bodies[kept.entry.letter.raw].add(kept.entry.letter)
    replay = None if dry else _fresh_id()
    done = _retried(settings, bodies, corrections, replay)
    remaining = sum(kept.resolved is None for kept in finished(standing(settings, meant)))
    if json:
        print_json(_outcome(done, replay, remaining))
    else:
        _say(done, replay, remaining)
    for raw in done.gone:
        sys.stderr.write(
            f"{place(raw)} is gone: retention deleted the body, or it is another namespace's; its "
            "dead letter keeps what could not be normalised (bluetick dead-letters export)\n"
        )
    return 1 if done.gone else 0


def _fresh_id() -> str:
    began = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return f"retry-{began}-{secrets.token_hex(2)}"


def _retried(
    settings: Settings,
    bodies: Mapping[Coordinates, set[Identity]],
    corrections: Corrections,
    replay: str | None,
) -> dead_letter_retry.Report:
    try:
        with progress("bodies") as (expect, advance):
            expect(len(bodies))
            return finished(dead_letter_retry.retry(settings, bodies, corrections, replay, advance))
    except UnsentError as error:
        raise Problem(f"{error}; what was retried before is kept: retry the rest again") from None


def _outcome(
    done: dead_letter_retry.Report, replay: str | None, remaining: int
) -> dict[str, object]:
    return {
        "replay": replay,
        "bodies": done.bodies,
        "observations": done.observations,
        "resolved": done.resolved,
        "failing": dict(done.failing),
        "gone": [place(raw) for raw in done.gone],
        "open": remaining,
    }


def _say(done: dead_letter_retry.Report, replay: str | None, remaining: int) -> None:
    would = "" if replay else "would be "
    console = Console()
    line = Text(f"{done.bodies} bodies read; {done.observations} observations {would}published")
    console.print(line.append(f" as {replay}" if replay else ""), soft_wrap=True)
    console.print(Text(f"{done.resolved} dead letters {would}resolved", GOOD))
    for code, count in sorted(done.failing.items()):
        console.print(Text(f"{count} still fail: {code}"))
    console.print(Text(f"{remaining} open"))

"""`bluetick dead-letters retry`: normalise raw bodies of dead letters with today's code."""

import asyncio
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cli.dead_letters.causes import Selection, place
from cli.dead_letters.reader import chosen, read_selected, with_bar
from cli.interrupt import interruptible
from cli.output import progress
from cli.output.jsonl import print_json
from cli.output.records import GOOD
from cli.problem_sentences import CommandProblem
from ingest.sources.loader import accounts
from processors.dead_letters.record import Identity
from processors.normalising.accounts import UNCORRECTED, Corrections
from processors.replay import dead_letter_retry
from processors.runtime.record_batches import UnsentError
from schemas.coordinates import Coordinates
from service.kafka.failures import right_missing
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
    """Normalise the raw bodies of dead letters again; returns 1 if some are gone.

    The accounts in the file `sources` are permitted, in addition to those at reception.
    """
    corrections = accounts(sources) if sources else UNCORRECTED
    bodies = dead_letter_retry.bodies_of(
        settings.topics.raw_topics,
        chosen(with_bar(partial(read_selected, settings, Selection()))),
        meant.holds,
        limit,
    )
    replay = None if dry else dead_letter_retry.new_id()
    done = _retried(settings, bodies, corrections, replay)
    later = with_bar(partial(read_selected, settings, meant))
    remaining = sum(kept.resolved is None for kept in later)
    if json:
        print_json(_outcome(done, replay, remaining))
    else:
        _print(done, replay, remaining)
    for raw in done.gone:
        sys.stderr.write(
            f"{place(raw)} is gone: retention deleted the body, or it is in another namespace; its "
            "dead letter keeps the failed part (bluetick dead-letters export)\n"
        )
    return 1 if done.gone else 0


def _retried(
    settings: Settings,
    bodies: Mapping[Coordinates, set[Identity]],
    corrections: Corrections,
    replay: str | None,
) -> dead_letter_retry.Report:
    try:
        with (
            interruptible("stopped; finished retries are kept; run it again to retry the rest"),
            progress.shown(transient=True) as shown,
        ):
            advance = shown.count("bodies", len(bodies)).advance
            return asyncio.run(
                dead_letter_retry.retry(settings, bodies, corrections, replay, advance)
            )
    except UnsentError as error:
        raise CommandProblem(
            "retry_unsent",
            "{why}; finished retries are kept; run it again to retry the rest",
            why=str(right_missing(settings, error) or error),
        ) from None


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


def _print(done: dead_letter_retry.Report, replay: str | None, remaining: int) -> None:
    would = "" if replay else "would be "
    console = Console()
    line = Text(f"{done.bodies} bodies read; {done.observations} observations {would}published")
    console.print(line.append(f" as {replay}" if replay else ""), soft_wrap=True)
    console.print(Text(f"{done.resolved} dead letters {would}resolved", GOOD))
    for code, count in sorted(done.failing.items()):
        console.print(Text(f"{count} still fail: {code}"))
    console.print(Text(f"{remaining} open"))

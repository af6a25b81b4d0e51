"""The options of a replay's range, parsed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.options import Range
from cli.problem_sentences import CommandProblem
from cli.providers import providers
from ingest.sources.loader import accounts
from processors.normalising.accounts import UNCORRECTED, Corrections
from processors.replay import plan as planning
from processors.replay import range_syntax
from processors.replay.progress import Spec
from processors.replay.range_syntax import Only
from processors.runtime.offset_ranges import Window, refuse_backwards
from service.settings import Settings
from service.wall_clock import now_ms


@dataclass(frozen=True)
class Wanted:
    """A range of raw records: by time or by offsets, and which of them."""

    providers: tuple[str, ...]
    window: Window
    offsets: Mapping[int, tuple[int, int]]
    only: Only | None
    source: str | None
    archive: str | None


def wanted(typed: Range) -> Wanted:
    """Parse the options; raises `Problem` for those that describe no range on any broker."""
    named = tuple(providers(typed.provider))
    if typed.offsets and (typed.since or typed.until):
        raise CommandProblem(
            "range_by_time_and_offsets",
            "a range is by time or by offsets; give --from and --to, or --offsets",
        )
    if typed.offsets and not typed.provider:
        raise CommandProblem(
            "offsets_without_provider", "--offsets are of one topic; name it with --provider"
        )
    if not typed.offsets and not typed.since:
        raise CommandProblem(
            "no_range",
            "the range has no start; give it with --from (a time, or oldest) or --offsets",
        )
    window = Window(*range_syntax.times_of(typed.since, typed.until, now_ms()))
    refuse_backwards(window)
    only = range_syntax.only_of(typed.only) if typed.only else None
    offsets = range_syntax.offsets_of(typed.offsets or ())
    return Wanted(named, window, offsets, only, typed.source, typed.archive)


async def resolve(
    settings: Settings, asked: Wanted, corrections: Corrections = UNCORRECTED
) -> tuple[Spec, int]:
    """Return the range on this broker, and how many of its records are not normalised yet."""
    return await planning.resolve(
        settings,
        [settings.topics.raw(provider) for provider in asked.providers],
        asked.window,
        asked.offsets,
        asked.only,
        archive=asked.archive,
        source=asked.source,
        corrections=corrections,
    )


def corrections_of(sources: Path | None) -> Corrections:
    """Return the accounts that a sources file permits, in addition to those at reception."""
    return accounts(sources) if sources else UNCORRECTED

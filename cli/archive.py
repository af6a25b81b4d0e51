"""`bluetick archive`: write raw topics to Parquet files, or verify an archive."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from cli.interrupt import interruptible
from cli.options import Received
from cli.output import progress
from cli.output.tables import PlainTable, name, number
from cli.problem_sentences import CommandProblem
from cli.providers import providers
from processors.archive import reader, writer
from processors.archive import verify as verifying
from processors.archive.catalogue import Manifest, Plan, called
from processors.archive.storage import Storage
from processors.archive.verify import Held, Verified
from processors.replay.range_syntax import times_of
from processors.runtime.offset_ranges import Window, refuse_backwards
from schemas.coordinates import Partition
from service.settings import Settings
from service.wall_clock import now_ms

_STOPPED = "stopped; the files of this run do not count, and the next run writes them again"


class Wanted(NamedTuple):
    """The providers and, optionally, the range of time to archive."""

    providers: list[str]
    window: Window | None


def wanted(typed: Received) -> Wanted:
    """Parse the options; raises `Problem`."""
    named = providers(typed.provider)
    window = Window(*times_of(typed.since, typed.until, now_ms()))
    refuse_backwards(window)
    return Wanted(list(named), window if typed.since or typed.until else None)


def run(settings: Settings, url: str, asked: Wanted) -> int:
    """Archive what is new, or a range of time; returns the exit code. Raises `Problem`.

    Bodies that retention deleted before they were archived are a `Problem`, once the rest is safe.
    """
    storage = Storage(url)
    console = Console(highlight=False)
    with interruptible(_STOPPED), progress.shown() as shown:
        bar = _Bar(shown)
        done, plans = asyncio.run(_archive(settings, storage, asked, bar))
    console.print(_archived(done))
    console.print(f"archived at {storage.url}", soft_wrap=True)
    _refuse_lost(plans)
    return 0


def verify(url: str) -> int:
    """Check all of an archive, and print its contents; exit code 1 if anything is wrong."""
    storage = Storage(url)
    console = Console(highlight=False)
    with progress.shown() as shown:
        count = shown.count("verifying", form=decimal)

        def checked(done: int, total: int) -> None:
            count.show(done, total, f"{decimal(round(count.rate(done)))}/s")

        found = verifying.verify(storage, checked)
    console.print(_held(found.held))
    for trouble in _troubles(found):
        console.print(Text.assemble(("✗ ", "red"), trouble), soft_wrap=True)
    if found.unnamed:
        console.print(
            f"{len(found.unnamed)} files are in no manifest, such as {found.unnamed[0]}: a run was "
            "interrupted; they are never read and may be deleted while no archive command runs",
            soft_wrap=True,
        )
    if not found.sound:
        raise CommandProblem(
            "archive_not_whole",
            "the archive at {url} is not complete; the lines above say why",
            url=storage.url,
        )
    console.print("every checksum is right, and no offset is missing")
    return 0


async def _archive(
    settings: Settings, storage: Storage, asked: Wanted, bar: "_Bar"
) -> tuple[dict[str, Manifest], Mapping[Partition, Plan]]:
    """Return the manifest of each provider with new bodies, and the plans."""
    topics = {settings.topics.raw(provider): provider for provider in asked.providers}
    known = await asyncio.to_thread(reader.catalogue, storage)
    plans = await writer.prepare(settings, known, list(topics), asked.window)
    bar.expect(sum(end - start for one in plans.values() for start, end in one.read))
    done = {}
    for topic, provider in topics.items():
        of = {place: one for place, one in plans.items() if place[0] == topic}
        if manifest := await writer.archive(settings, storage, provider, of, bar):
            done[provider] = manifest
    return done, plans


class _Bar:
    """The progress bar: offsets, bodies, rate and bytes."""

    def __init__(self, shown: progress.Progress) -> None:
        self._count = shown.count("archiving")
        self._records = self._bytes = 0

    def expect(self, offsets: int) -> None:
        self._count.expect(offsets)

    def moved(self, offsets: int, records: int, size: int) -> None:
        self._records += records
        self._bytes += size
        count = self._count
        rate = count.rate(self._records)
        words = f"{self._records:,} bodies, {rate:,.0f}/s, {decimal(self._bytes)}"
        count.show(count.done + offsets, count.total, words)


def _archived(done: Mapping[str, Manifest]) -> PlainTable | str:
    if not done:
        return "nothing to do: everything is archived already"
    numbers = map(number, ("bodies", "files", "on disk"))
    table = PlainTable("Archived", name("provider"), *numbers)
    for provider, manifest in done.items():
        size = decimal(sum(file.size for file in manifest.files))
        rows = sum(file.rows for file in manifest.files)
        table.add_row(provider, f"{rows:,}", str(len(manifest.files)), size)
    return table


def _held(held: Iterable[Held]) -> PlainTable:
    numbers = map(number, ("first", "last", "bodies", "files", "on disk", ""))
    table = PlainTable("What the archive holds", name("partition"), *numbers)
    for one in held:
        mark = Text("✗", "bold red") if one.troubles else Text("✓", "green")
        edges = ["" if edge is None else str(edge) for edge in (one.first, one.last)]
        counts = [f"{one.records:,}", str(one.files), decimal(one.size)]
        table.add_row(Text(called(one.place)), *edges, *counts, mark)
    return table


def _troubles(found: Verified) -> list[str]:
    return [*found.troubles, *(trouble for one in found.held for trouble in one.troubles)]


def _refuse_lost(plans: Mapping[Partition, Plan]) -> None:
    lost = [
        f"{called(place)} {gone.start}-{gone.end}"
        for place, one in plans.items()
        for gone in one.lost
    ]
    if lost:
        raise CommandProblem(
            "retention_before_archive",
            (
                "retention deleted bodies before they were archived: the offsets {lost} are lost, "
                "later ones are archived; archive more often, or raise the raw topics' retention"
            ),
            lost=", ".join(lost),
        )

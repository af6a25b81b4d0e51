"""`bluetick archive`: put raw topics into Parquet files, or look whether an archive is whole."""

import asyncio
import time
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from cli.output.tables import plain_table
from cli.providers import providers
from processors.archive import reader, writer
from processors.archive import verify as verifying
from processors.archive.catalogue import Manifest, Plan, called
from processors.archive.storage import Storage
from processors.archive.verify import Held, Verified
from processors.replay.range_syntax import times_of
from processors.runtime.offset_ranges import Window, refuse_backwards
from schemas.coordinates import Partition
from service.errors import Problem
from service.settings import Settings
from service.wall_clock import now_ms

_INTERRUPTED = 130


def run(
    settings: Settings, url: str, *, provider: str | None, since: str | None, until: str | None
) -> int:
    """Archive what is new, or a range of time; returns the exit code. Raises `Problem`.

    What retention deleted before it could be archived is a `Problem` too, once the rest is safe.
    """
    wanted = providers(provider)
    window = Window(*times_of(since, until, now_ms()))
    refuse_backwards(window)
    storage = Storage(url)
    console = Console(highlight=False)
    with _Bar("archiving") as bar:
        try:
            given = window if since or until else None
            done, plans = asyncio.run(_archive(settings, storage, wanted, given, bar))
        except KeyboardInterrupt:
            bar.console.print("stopped; what this run had written does not count, the next begins")
            return _INTERRUPTED
    console.print(_archived(done))
    console.print(f"archived at {storage.url}", soft_wrap=True)
    _refuse_lost(plans)
    return 0


def verify(url: str) -> int:
    """Check all of an archive, and print what there is; exit code 1 if anything is wrong."""
    storage = Storage(url)
    console = Console(highlight=False)
    with _Bar("verifying") as bar:
        found = verifying.verify(storage, bar.checked)
    console.print(_held(found.held))
    for said in _troubles(found):
        console.print(Text.assemble(("✗ ", "red"), said), soft_wrap=True)
    if found.unnamed:
        console.print(
            f"{len(found.unnamed)} files are in no manifest, such as {found.unnamed[0]}: a run was "
            "cut off; they are never read and may be deleted while nothing is being archived",
            soft_wrap=True,
        )
    if not found.sound:
        raise Problem(f"the archive at {storage.url} is not whole; what is wrong is said above")
    console.print("every checksum is right, and no offset is missing")
    return 0


async def _archive(
    settings: Settings,
    storage: Storage,
    providers: Iterable[str],
    window: Window | None,
    bar: "_Bar",
) -> tuple[dict[str, Manifest], Mapping[Partition, Plan]]:
    """One manifest for each provider that had anything."""
    topics = {settings.topics.raw(provider): provider for provider in providers}
    known = await asyncio.to_thread(reader.catalogue, storage)
    plans = await writer.prepare(settings, known, list(topics), window)
    bar.expect(sum(end - start for one in plans.values() for start, end in one.read))
    done = {}
    for topic, provider in topics.items():
        of = {place: one for place, one in plans.items() if place[0] == topic}
        if manifest := await writer.archive(settings, storage, provider, of, bar):
            done[provider] = manifest
    return done, plans


class _Bar(Progress):
    """A progress bar on the standard error: how much is done, how fast, how many bytes."""

    def __init__(self, doing: str) -> None:
        super().__init__(
            TextColumn(doing),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True, highlight=False),
        )
        self._task = self.add_task("", total=None, told="")
        self._began = time.monotonic()
        self._records = self._bytes = 0

    def expect(self, offsets: int) -> None:
        self.update(self._task, total=offsets, visible=offsets > 0)

    def moved(self, offsets: int, records: int, size: int) -> None:
        self._records += records
        self._bytes += size
        rate = self._records / max(1e-3, time.monotonic() - self._began)
        told = f"{self._records:,} bodies, {rate:,.0f}/s, {decimal(self._bytes)}"
        self.update(self._task, advance=offsets, told=told)

    def checked(self, done: int, total: int) -> None:
        rate = decimal(round(done / max(1e-3, time.monotonic() - self._began)))
        told = f"{decimal(done)} of {decimal(total)}, {rate}/s"
        self.update(self._task, completed=done, total=total, told=told)


def _archived(done: Mapping[str, Manifest]) -> Table | str:
    if not done:
        return "nothing to do: all there is was archived before"
    table = plain_table("Archived", "provider")
    for heading in ("bodies", "files", "on disk"):
        table.add_column(heading, justify="right")
    for provider, manifest in done.items():
        size = decimal(sum(file.size for file in manifest.files))
        rows = sum(file.rows for file in manifest.files)
        table.add_row(provider, f"{rows:,}", str(len(manifest.files)), size)
    return table


def _held(held: Iterable[Held]) -> Table:
    table = plain_table("What the archive holds", "partition")
    for heading in ("first", "last", "bodies", "files", "on disk", ""):
        table.add_column(heading, justify="right")
    for one in held:
        mark = Text("✗", "bold red") if one.troubles else Text("✓", "green")
        edges = ["" if edge is None else str(edge) for edge in (one.first, one.last)]
        counts = [f"{one.records:,}", str(one.files), decimal(one.size)]
        table.add_row(Text(called(one.place)), *edges, *counts, mark)
    return table


def _troubles(found: Verified) -> list[str]:
    return [*found.troubles, *(said for one in found.held for said in one.troubles)]


def _refuse_lost(plans: Mapping[Partition, Plan]) -> None:
    lost = [
        f"{called(place)} {gone.start}-{gone.end}"
        for place, one in plans.items()
        for gone in one.lost
    ]
    if lost:
        raise Problem(
            f"retention deleted bodies before they were archived: the offsets {', '.join(lost)} "
            "are missing for good; what came after them is archived. Archive more often, or keep "
            "the raw topics for longer"
        )

"""`bluetick replay`: plan, run, report and list replays of the raw topics."""

import asyncio
import gc
import secrets
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from cli.options import Range
from cli.output.json_escaping import as_text
from cli.providers import providers
from ingest.sources.loader import accounts
from processors.normalising.accounts import UNCORRECTED, Corrections, fingerprint
from processors.replay import plan as planning
from processors.replay import progress as ledger
from processors.replay import range_syntax
from processors.replay import report as reporting
from processors.replay import run as replaying
from processors.replay.facts import STANDINGS
from processors.replay.plan import Plan
from processors.replay.progress import Replay, Spec
from processors.replay.range_syntax import Only
from processors.replay.report import Report
from processors.replay.run import Limits
from processors.runtime.offset_ranges import Window, refuse_backwards
from schemas.webhook import to_iso
from service.errors import Problem
from service.settings import Settings
from service.signals import stopping
from service.wall_clock import now_ms

# A tracker at work is there in a moment; for one that is not, a plan need not wait.
_CATCH_UP_SECONDS = 5.0
_SAY_SECONDS = 10.0
_INTERRUPTED = 130


def plan(settings: Settings, asked: Range, sources: Path | None, *, json: bool) -> int:
    """Show what a replay of a range would bring; nothing is written."""
    corrections = _corrections(sources)

    async def work() -> int:
        spec, left = await resolve(settings, asked, corrections)
        made = await _plan(settings, spec, corrections)
        if json:
            _print_json(_plan_fields(made, left))
        else:
            _show_plan(made, left)
        return 0

    return _run(work())


def run(
    settings: Settings,
    asked: Range,
    sources: Path | None,
    id_: str | None,
    limits: Limits,
    *,
    yes: bool,
) -> int:
    """Publish a range's observations again, or what is left of a replay that has begun."""
    corrections = _corrections(sources)
    if not yes and not sys.stdin.isatty():
        raise Problem("a replay writes: without a terminal to ask on, say --yes")

    async def work() -> int:
        replay = await _begun(settings, asked, corrections, id_) if id_ else None
        if replay is None:
            replay = await _new(settings, asked, corrections, id_, ask=not yes)
        if replay is None:
            return 1
        if not replay.left:
            _say(f"the replay {replay.id} is finished already; see: {_report_command(replay)}")
            return 0
        return await _publish(settings, replay, limits, corrections)

    return _run(work())


def report(settings: Settings, id_: str, wait: float, *, json: bool) -> int:
    """Show what a replay brought."""

    async def work() -> int:
        replay = await _find(settings, id_)
        made = await reporting.report(settings, replay, wait)
        if json:
            _print_json(_report_fields(made))
        else:
            _show_report(made)
        return 0

    return _run(work())


def list_(settings: Settings, *, json: bool) -> int:
    """Show the replays Kafka knows of."""

    async def work() -> int:
        replays = await ledger.known(settings)
        if json:
            _print_json([_replay_fields(one) for one in replays])
        else:
            _show_replays(replays)
        return 0

    return _run(work())


def _corrections(sources: Path | None) -> Corrections:
    return accounts(sources) if sources else UNCORRECTED


def check(asked: Range) -> None:
    """Raise `Problem` for what no broker could make a range of."""
    _read(asked)


def _read(asked: Range) -> tuple[Window, dict[int, tuple[int, int]], Only | None]:
    """The window, offsets and choice that were typed; raises `Problem`."""
    providers(asked.provider)
    if asked.offsets and (asked.since or asked.until):
        raise Problem("a range is by time or by offsets: give --from and --to, or --offsets")
    if asked.offsets and not asked.provider:
        raise Problem("offsets are those of one topic: say which with --provider")
    if not asked.offsets and not asked.since:
        raise Problem("say where the range begins, with --from (a time, or oldest) or --offsets")
    window = Window(*range_syntax.times_of(asked.since, asked.until, now_ms()))
    refuse_backwards(window)
    only = range_syntax.only_of(asked.only) if asked.only else None
    return window, range_syntax.offsets_of(asked.offsets or ()), only


async def resolve(
    settings: Settings, asked: Range, corrections: Corrections = UNCORRECTED
) -> tuple[Spec, int]:
    """What was typed, on this broker; how many records are the normaliser's."""
    window, offsets, only = _read(asked)
    names = [settings.topics.raw(provider) for provider in providers(asked.provider)]
    return await planning.resolve(
        settings,
        names,
        window,
        offsets,
        only,
        archive=asked.archive,
        source=asked.source,
        corrections=corrections,
    )


async def _plan(settings: Settings, spec: Spec, corrections: Corrections) -> Plan:
    with _bar() as bar:
        return await planning.plan(settings, spec, _CATCH_UP_SECONDS, bar.tell, corrections)


async def _begun(
    settings: Settings, asked: Range, corrections: Corrections, id_: str
) -> Replay | None:
    """The replay of that id, if it has begun; `Problem` if something else is asked for now."""
    replay = await ledger.find(settings, ledger.checked(id_))
    if replay is None:
        if not asked.given:
            raise Problem(
                f"there is no replay {id_} to go on with (`bluetick replay list` shows which there "
                "are); to begin it, say its range with --from or --offsets"
            )
        return None
    if replay.spec.accounts != fingerprint(corrections):
        raise Problem(
            f"the replay {id_} has begun with other accounts than --accounts names now; give the "
            "same accounts, or leave --accounts out if it began without, or choose another --id"
        )
    if asked.given and (await resolve(settings, asked, corrections))[0] != replay.spec:
        raise Problem(
            f"the replay {id_} has begun with another range, {_described(replay.spec)}; to go on "
            "with it leave the range out, or choose another --id"
        )
    return replay


async def _new(
    settings: Settings, asked: Range, corrections: Corrections, id_: str | None, *, ask: bool
) -> Replay | None:
    """A replay of what is asked for; None if a person does not want it after all."""
    spec, left = await resolve(settings, asked, corrections)
    if ask:
        _show_plan(await _plan(settings, spec, corrections), left)
        if not typer.confirm("Publish these observations again?"):
            return None
    elif left:
        _say(f"{left:,} records are left to the normaliser, which has not come to them yet")
    now = time.time()
    name = id_ or f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    return Replay(name, round(now * 1000), spec, {})


async def _publish(
    settings: Settings, replay: Replay, limits: Limits, corrections: Corrections
) -> int:
    _say(f"replay {replay.id}: {_described(replay.spec)}")
    stop = asyncio.Event()
    resume = f"go on with: {replay.command}"
    try:
        with _bar() as bar, stopping(stop):
            done = await replaying.run(
                settings, replay, limits, bar.show, stop, corrections=corrections
            )
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        _say(f"given up at once; what was recorded is done; {resume}")
        return _INTERRUPTED
    counts = done.counts
    _say(
        f"{counts.bodies:,} bodies normalised, {counts.observations:,} observations published, "
        f"{counts.dead_letters.total():,} dead letters met again and left as they are"
    )
    if stop.is_set():
        _say(f"stopped; {resume}")
        return _INTERRUPTED
    _say(f"finished; what came of it: {_report_command(replay)}")
    return 0


class _Bar:
    """Progress for a person: a bar on a terminal, else now and then a line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._said = self._began = time.monotonic()

    def tell(self, what: str, done: int, total: int, more: str = "") -> None:
        """Show that so much of something is read."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, more=more)
        self._progress.update(self._tasks[what], completed=done, more=more)
        if self._progress.disable and time.monotonic() - self._said > _SAY_SECONDS:
            self._said = time.monotonic()
            _say(f"{what}: {done:,} of {total:,} records {more}")

    def show(self, at: replaying.Progress) -> None:
        """Show how far a run is."""
        rate = at.counts.observations / max(0.001, time.monotonic() - self._began)
        more = f"{at.counts.observations:,} observations, {rate:,.0f}/s"
        if at.waiting:
            more += f"; waits for the tracker, which has {at.waiting:,} to go"
        self.tell("replayed", at.records, at.total, more)


@contextmanager
def _bar() -> Iterator[_Bar]:
    console = Console(stderr=True, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[more]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _Bar(progress)


def _run(work: Coroutine[Any, Any, int]) -> int:
    spare_collector()
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        return _INTERRUPTED


def spare_collector() -> None:
    """Let the garbage collector look seldom: records make no cycles, and it halves the speed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 50, 1000)


def _show_plan(made: Plan, left: int) -> None:
    console = Console(highlight=False)
    counts = made.counts
    console.print(f"\n{_described(made.spec)}")
    rate = counts.observations / max(0.001, made.seconds)
    console.print(
        f"{counts.bodies:,} bodies, {counts.observations:,} observations, compared with "
        f"{made.states:,} records of states in {made.seconds:.1f} s ({rate:,.0f} observations/s)"
    )
    table = Table("provider", "status")
    for heading in STANDINGS:
        table.add_column(heading, justify="right")
    for kind, facts in made.facts.items():
        cells = (f"{facts[standing]:,}" for standing in STANDINGS)
        table.add_row(kind.provider, kind.status, *cells, style=None if facts["new"] else "dim")
    console.print(table)
    for (provider, code), count in sorted(counts.dead_letters.items()):
        console.print(f"{provider}: {count:,} dead letters {code}, which stay as they are")
    if left:
        console.print(f"{left:,} records are left to the normaliser: it has not come to them yet")
    if made.behind:
        console.print(
            f"[yellow]the tracker has {made.behind:,} observations still to take: some facts "
            "count as new that are on their way[/yellow]"
        )


def _plan_fields(made: Plan, left: int) -> dict[str, Any]:
    facts = [
        {**kind._asdict(), **{standing: count[standing] for standing in STANDINGS}}
        for kind, count in made.facts.items()
    ]
    return {
        **_spec_fields(made.spec),
        "bodies": made.counts.bodies,
        "observations": made.counts.observations,
        "facts": facts,
        "dead_letters": _rows(("provider", "code"), made.counts.dead_letters),
        "ignored": _rows(("provider", "event"), made.counts.ignored),
        "left_to_normalise": left,
        "tracker_behind": made.behind,
        "seconds": round(made.seconds, 3),
    }


def _show_report(made: Report) -> None:
    console = Console(highlight=False)
    replay = made.replay
    console.print(f"\nreplay {replay.id}, begun {to_iso(replay.started_at)}")
    console.print(_described(replay.spec))
    table = Table("provider", "status", "verdict")
    table.add_column("new", justify="right")
    for row, count in sorted(made.facts.items()):
        table.add_row(*row, f"{count:,}")
    console.print(table)
    events = ", ".join(f"{name} {count:,}" for name, count in sorted(made.events.items()))
    console.print(f"new facts: {made.facts.total():,}; events: {events or 'none'}")
    if replay.left:
        left = planning.size(replay.left)
        console.print(f"[yellow]not finished: {left:,} records to go; {replay.command}[/yellow]")
    if made.behind:
        console.print(
            f"[yellow]the tracker has {made.behind:,} observations still to take, so there may be "
            "more to come; ask again, or with --wait SECONDS[/yellow]"
        )


def _report_fields(made: Report) -> dict[str, Any]:
    return {
        **_replay_fields(made.replay),
        "facts": _rows(("provider", "status", "verdict"), made.facts),
        "events": dict(sorted(made.events.items())),
        "tracker_behind": made.behind,
    }


def _show_replays(replays: Sequence[Replay]) -> None:
    table = Table("id", "begun", "range", "done")
    for one in replays:
        total, left = planning.size(one.spec.spans), planning.size(one.left)
        done = f"{total - left:,} of {total:,}" if left else "all"
        table.add_row(one.id, to_iso(one.started_at), _described(one.spec), done)
    Console(highlight=False).print(table if replays else "there are no replays")


def _replay_fields(one: Replay) -> dict[str, Any]:
    return {
        "id": one.id,
        "started_at": one.started_at,
        **_spec_fields(one.spec),
        "records_left": planning.size(one.left),
    }


def _spec_fields(spec: Spec) -> dict[str, Any]:
    since, until = spec.window
    bounds = {
        "archive": spec.archive,
        "source": spec.source,
        "accounts": spec.accounts,
        "from_at": since,
        "to_at": until,
        "only": spec.only and spec.only.value,
    }
    return {
        "spans": [span._asdict() for span in spec.spans],
        **{name: value for name, value in bounds.items() if value is not None},
        "records": planning.size(spec.spans),
    }


def _described(spec: Spec) -> str:
    """A range in words."""
    by_topic: dict[str, list[str]] = {}
    for span in spec.spans:
        by_topic.setdefault(span.topic, []).append(f"{span.partition}:{span.start}-{span.end}")
    told = [f"{topic} {' '.join(ranges_)}" for topic, ranges_ in by_topic.items()]
    if spec.archive is not None:
        told.append(f"from the archive {spec.archive}")
    since, until = spec.window
    if since is not None:
        told.append(f"received from {to_iso(since)}")
    if until is not None:
        told.append(f"received before {to_iso(until)}")
    if spec.source is not None:
        told.append(f"of the source {spec.source}")
    if spec.accounts is not None:
        told.append(f"with accounts {spec.accounts}")
    if spec.only:
        told.append(f"only {spec.only.value}")
    return ", ".join(told)


def _rows(names: Sequence[str], counts: Mapping[Any, int]) -> list[dict[str, Any]]:
    return [
        dict(zip(names, row, strict=True)) | {"count": count}
        for row, count in sorted(counts.items())
    ]


async def _find(settings: Settings, id_: str) -> Replay:
    replay = await ledger.find(settings, ledger.checked(id_))
    if replay is None:
        raise Problem(
            f"there is no replay {id_}: `bluetick replay list` shows which there are; Kafka "
            "forgets one a week after it was last worked on (offsets.retention.minutes)"
        )
    return replay


def _report_command(replay: Replay) -> str:
    return f"bluetick replay report {replay.id}"


def _print_json(fields: Any) -> None:
    sys.stdout.write(as_text(fields, indent=2) + "\n")


def _say(line: str) -> None:
    typer.echo(line, err=True)

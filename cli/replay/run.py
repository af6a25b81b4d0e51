"""`bluetick replay run`: publish a range's observations again, or resume that."""

import asyncio
import sys
from pathlib import Path

import typer

from cli.interrupt import Interrupted
from cli.options import ReplayRun
from cli.output import progress
from cli.problem_sentences import CommandProblem
from cli.replay.plan import planned, question, show
from cli.replay.range_options import Wanted, corrections_of, resolve
from cli.replay.replay_as_text import command, described
from processors.normalising.accounts import Corrections, fingerprint
from processors.replay import progress as ledger
from processors.replay import run as replaying
from processors.replay.plan import Plan
from processors.replay.progress import Replay, Spec
from processors.replay.run import Limits
from service.garbage_collection import stop_collecting
from service.settings import Settings
from service.signals import stopping


def run(settings: Settings, asked: Wanted | None, sources: Path | None, how: ReplayRun) -> int:
    """Publish a range's observations again, or resume a replay."""
    corrections = corrections_of(sources)
    if not how.yes and not sys.stdin.isatty():
        raise CommandProblem(
            "replay_not_confirmed",
            "a replay writes to Kafka, and there is no terminal to confirm it; add --yes",
        )
    stop_collecting()
    replay = asyncio.run(_begun(settings, asked, corrections, how.id_)) if how.id_ else None
    if replay is None:
        replay = _new(settings, asked, corrections, how)
    if replay is None:
        return 1
    if not replay.left:
        _print(f"the replay {replay.id} is finished already; see: {_report_command(replay)}")
        return 0
    return asyncio.run(_publish(settings, replay, Limits(how.rate, how.backlog), corrections))


async def _begun(
    settings: Settings, asked: Wanted | None, corrections: Corrections, id_: str
) -> Replay | None:
    """Return the replay of that id, if it has begun; raises `Problem` if the options differ."""
    replay = await ledger.find(settings, ledger.checked(id_))
    if replay is None:
        if asked is None:
            raise CommandProblem(
                "replay_without_range",
                (
                    "there is no replay {id} to resume (see `bluetick replay list`); to begin it, "
                    "give its range with --from or --offsets"
                ),
                id=id_,
            )
        return None
    if replay.spec.accounts != fingerprint(corrections):
        raise CommandProblem(
            "replay_of_other_accounts",
            (
                "the replay {id} has begun with other accounts; give the same --accounts, or none "
                "if it began without, or choose another --id"
            ),
            id=id_,
        )
    if asked and (await resolve(settings, asked, corrections))[0] != replay.spec:
        raise CommandProblem(
            "replay_of_other_range",
            (
                "the replay {id} has begun with another range, {range}; leave the range out to "
                "resume it, or choose another --id"
            ),
            id=id_,
            range=described(replay.spec),
        )
    return replay


def _new(
    settings: Settings, asked: Wanted | None, corrections: Corrections, how: ReplayRun
) -> Replay | None:
    """Return a new replay of the range; None if the user declines the plan."""
    assert asked is not None  # noqa: S101 - only a replay that has begun needs no range

    async def prepare() -> tuple[Spec, int, Plan | None]:
        spec, left = await resolve(settings, asked, corrections)
        return spec, left, None if how.yes else await planned(settings, spec, corrections)

    spec, left, plan = asyncio.run(prepare())
    if plan:
        show(plan, left)
        if not typer.confirm(question(plan)):
            return None
    elif left:
        _print(f"{left:,} records are left to the normaliser, which has not read them yet")
    return ledger.begun(spec, how.id_)


async def _publish(
    settings: Settings, replay: Replay, limits: Limits, corrections: Corrections
) -> int:
    _print(f"replay {replay.id}: {described(replay.spec)}")
    stop = asyncio.Event()
    resume = f"resume with: {command(replay)}"
    try:
        with progress.shown() as shown, stopping(stop):
            bar = _Bar(shown.count("replayed"))
            done = await replaying.run(
                settings, replay, limits, bar.show, stop, corrections=corrections
            )
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        raise Interrupted(f"stopped at once; the progress is recorded; {resume}") from None
    counts = done.counts
    _print(
        f"{counts.bodies:,} bodies normalised, {counts.observations:,} observations published, "
        f"{counts.dead_letters.total():,} dead letters found again and left unchanged"
    )
    if stop.is_set():
        raise Interrupted(f"stopped; {resume}")
    _print(f"finished; see: {_report_command(replay)}")
    return 0


class _Bar:
    """The progress of a run, and its rate."""

    def __init__(self, count: progress.Count) -> None:
        self._count = count

    def show(self, at: replaying.Progress) -> None:
        observations = at.counts.observations
        words = f"{observations:,} observations, {self._count.rate(observations):,.0f}/s"
        if at.waiting:
            words += f"; waits for the tracker, which is {at.waiting:,} behind"
        self._count.show(at.passed, at.total, words)


def _report_command(replay: Replay) -> str:
    return f"bluetick replay report {replay.id}"


def _print(line: str) -> None:
    typer.echo(line, err=True)

"""`bluetick rebuild`: derive a namespace anew, beside the one in use, and follow."""

import asyncio
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from cli.namespaces.manage import Found, look
from cli.namespaces.rate import Mark, Pace
from cli.processes import Running, Service, first_to_end, running
from cli.up.up import worries
from deploy import topics
from deploy.local_kafka.broker import free_port
from processors.runtime.consumer_groups import Watch, commit, watching
from schemas.webhook import to_iso
from service.errors import Problem, unreachable
from service.settings import NAMESPACE, Settings
from service.signals import run_until_signal

_LOOK_SECONDS = 0.5
_TELL_SECONDS = 5.0
_PRESENT_SECONDS = 5.0
_RETRY_SECONDS = 5.0
_INTERRUPTED = 130

Begun = dict[str, dict[TopicPartition, int]]
"""By service, where its inputs began."""


@dataclass(frozen=True)
class Wish:
    """What is wanted; see the command's help."""

    into: str
    from_observations: bool = False
    until_present: bool = False
    resume: bool = False
    accept_gap: bool = False


@dataclass(frozen=True)
class Plan:
    """A rebuild: the settings of its source and its target, and the services that do it."""

    source: Settings
    target: Settings
    services: tuple[str, ...] = field(default=("normalise", "track"))

    @property
    def group(self) -> str:
        """The group whose offsets on the source's topics say that the target is its rebuild."""
        return self.target.topics.group(self.services[0])

    @property
    def inputs(self) -> tuple[str, ...]:
        """The source's topics that are read."""
        return self.target.topics.inputs(self.services[0])


def run(settings: Settings, wish: Wish) -> int:
    """Rebuild, and follow until Ctrl-C; returns the exit code."""
    return run_until_signal(_rebuild(_plan(settings, wish), wish), stopped=_INTERRUPTED)


def _plan(source: Settings, wish: Wish) -> Plan:
    if wish.into == source.namespace:
        raise Problem(
            f"--into {wish.into} is the namespace in use (BLUETICK_NAMESPACE); name a new one"
        )
    if not re.fullmatch(NAMESPACE, wish.into) or not wish.into.strip("."):
        raise Problem(
            f"--into {wish.into!r} is no namespace: it has letters, digits, '.', '_' and '-', at "
            "most 100 of them"
        )
    inputs = {"raw_namespace": source.topics.raw_from}
    if wish.from_observations:
        inputs["observations_namespace"] = source.topics.observed
    target = source.of(wish.into).model_copy(update=inputs)
    return Plan(source, target, ("track",) if wish.from_observations else ("normalise", "track"))


async def _rebuild(plan: Plan, wish: Wish) -> int:
    console = Console(highlight=False)
    found = await look(plan.source)
    if plan.source.namespace not in found.namespaces:
        raise found.unknown(plan.source.namespace, "to rebuild")
    await topics.require_foreign(plan.target)
    try:
        async with watching(plan.target) as watch:
            await _begin(console, plan, wish, found, watch)
            return await _work(console, plan, wish, watch)
    except asyncio.CancelledError:
        _tell_resume(console, wish)
        raise
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreachable(plan.source.kafka, error) from error


def _tell_resume(console: Console, wish: Wish) -> None:
    again = " --from-observations" if wish.from_observations else ""
    console.print(
        f"stopped; to go on with it: bluetick rebuild --into {wish.into}{again} --resume",
        soft_wrap=True,
    )


async def _begin(console: Console, plan: Plan, wish: Wish, found: Found, watch: Watch) -> None:
    """Mark the target as a rebuild of the source, at the beginning; or find the mark there."""
    into = wish.into
    exists = found.holds(plan.target.topics)
    if wish.resume:
        if not exists:
            raise Problem(f"there is no rebuild {into} to go on with; leave out --resume")
        begun = {place.topic for place in await watch.committed(plan.group)}
        if begun != set(plan.inputs):
            raise Problem(
                f"the namespace {into} was not begun as a rebuild from {', '.join(plan.inputs)}; "
                f"give the options it was begun with, or delete it: bluetick namespace drop {into}"
            )
    elif exists:
        raise Problem(
            f"the namespace {into} exists ({exists}); if its rebuild was cut short go on with "
            f"--resume, else name a new one, or delete it: bluetick namespace drop {into}"
        )
    else:
        beginnings = await watch.beginnings(plan.inputs)
        _tell_reach(console, plan, beginnings, await watch.oldest(plan.inputs))
        _refuse_gap(wish, beginnings)
        # Before any topic: whatever there is of it is known from now on for what it is.
        await commit(plan.target, plan.group, beginnings)
    await topics.apply(plan.target)


def _tell_reach(
    console: Console,
    plan: Plan,
    beginnings: Mapping[TopicPartition, int],
    oldest: Mapping[TopicPartition, int],
) -> None:
    """Say how far back the inputs reach."""
    for topic in plan.inputs:
        times = [at for place, at in oldest.items() if place.topic == topic]
        gone = sum(offset for place, offset in beginnings.items() if place.topic == topic)
        since = f"reaches back to {to_iso(min(times))}" if times else "is empty"
        console.print(f"{topic} {since}" + (f"; {gone} older records are gone" if gone else ""))


def _refuse_gap(wish: Wish, beginnings: Mapping[TopicPartition, int]) -> None:
    """A rebuild that lacks the beginning is not what it looks like: say so, and ask."""
    gone = {place: offset for place, offset in beginnings.items() if offset}
    if not gone or wish.accept_gap:
        return
    ranges = ", ".join(f"{p.topic}[{p.partition}] 0 to {gone[p] - 1}" for p in sorted(gone))
    what = "observations" if wish.from_observations else "bodies"
    raise Problem(
        f"retention has deleted the first {what} ({ranges}): {wish.into} would know only what came "
        "later; bring them back from an archive (bluetick replay --archive), or accept that with "
        "--accept-gap"
    )


async def _work(console: Console, plan: Plan, wish: Wish, watch: Watch) -> int:
    ports = {name: free_port(0) for name in plan.services}
    settings = plan.target.model_copy(update={f"{n}_health_port": p for n, p in ports.items()})
    services = [Service(name, port, settings.health_host) for name, port in ports.items()]
    console.print(f"rebuilding {plan.source.namespace} into {wish.into}")
    began = time.monotonic()
    async with running(settings, services, worries(console)) as started:
        catching_up = asyncio.create_task(_until_present(console, plan, watch))
        ended = asyncio.create_task(first_to_end(started))
        try:
            await asyncio.wait([catching_up, ended], return_when=asyncio.FIRST_COMPLETED)
            if not catching_up.done():
                raise ended.result().why()
            console.print(f"{catching_up.result()}; it took {time.monotonic() - began:.0f} s")
            _tell_next(console, plan, wish)
            return 0 if wish.until_present else await _follow(console, wish, ended)
        finally:
            for task in (catching_up, ended):
                task.cancel()
            await asyncio.wait([catching_up, ended])


async def _follow(console: Console, wish: Wish, ended: asyncio.Task[Running]) -> int:
    """Leave the services at work; Ctrl-C is how that ends well."""
    try:
        raise (await ended).why()
    except asyncio.CancelledError:
        _tell_resume(console, wish)
        return 0


async def _until_present(console: Console, plan: Plan, watch: Watch) -> str:
    """Show how it goes, until all is through that was there a moment ago; returns what was done.

    The services wait for a Kafka that is away, and so does this.
    """
    begun: Begun = {}
    with _Shown(console, plan) as shown:
        while True:
            try:
                begun = begun or await _beginnings(plan, watch)
                return await _catch_up(plan, watch, begun, shown)
            except (KafkaError, OSError, TimeoutError) as error:
                console.print(f"{unreachable(plan.source.kafka, error)}; waiting for it")
                await asyncio.sleep(_RETRY_SECONDS)


async def _beginnings(plan: Plan, watch: Watch) -> Begun:
    inputs = {name: plan.target.topics.inputs(name) for name in plan.services}
    return {name: await watch.beginnings(topics_) for name, topics_ in inputs.items()}


async def _catch_up(plan: Plan, watch: Watch, begun: Begun, shown: "_Shown") -> str:
    names = plan.target.topics
    since = -math.inf
    while time.monotonic() - since > _PRESENT_SECONDS:
        since = time.monotonic()
        for service in plan.services:
            ends = await watch.ends(names.inputs(service))
            while await watch.behind(names.group(service), ends):
                shown.tell(await _mark(plan, watch, begun))
                await asyncio.sleep(_LOOK_SECONDS)
    last = await _mark(plan, watch, begun)
    bodies = f"{last.bodies[0]:,} bodies normalised, " if last.bodies else ""
    return f"{bodies}{last.observations[0]:,} observations tracked"


async def _mark(plan: Plan, watch: Watch, begun: Begun) -> Mark:
    counts = {}
    for service, places in begun.items():
        committed = await watch.committed(plan.target.topics.group(service))
        ends = await watch.ends(plan.target.topics.inputs(service))
        done = sum(
            max(0, committed[place].offset - offset)
            for place, offset in places.items()
            if place in committed
        )
        counts[service] = done, sum(end - places[place] for place, end in ends.items())
    return Mark(time.monotonic(), counts.get("normalise"), counts["track"])


class _Shown:
    """Tells a person how a rebuild goes: bars in a terminal, else a line now and then."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._pace = Pace()
        self._told = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        if console.is_terminal:
            for name in plan.services:
                self._tasks[name] = self._bars.add_task(name, total=None, words="")

    def __enter__(self) -> Self:
        if self._tasks:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def tell(self, mark: Mark) -> None:
        self._pace.add(mark)
        pace, left = self._pace, self._pace.left_seconds
        togo = "" if left is None else f", about {left:.0f} s to go"
        lines = {}
        if mark.bodies is not None:
            done, there = mark.bodies
            lines["normalise"] = done, there, f"{done:,} of {there:,} bodies, {pace.bodies:,.0f}/s"
        done = mark.observations[0]
        words = f"{done:,} of {pace.expected:,} observations, {pace.observations:,.0f}/s{togo}"
        lines["track"] = done, pace.expected, words
        for name, task in self._tasks.items():
            done, there, words = lines[name]
            self._bars.update(task, completed=done, total=there, words=words)
        if not self._tasks and time.monotonic() - self._told > _TELL_SECONDS:
            self._told = time.monotonic()
            self._console.print("; ".join(words for _, _, words in lines.values()))


def _tell_next(console: Console, plan: Plan, wish: Wish) -> None:
    source, into, inputs = plan.source.namespace, wish.into, plan.target.topics
    read = {"RAW": inputs.raw_from}
    if wish.from_observations:
        read = {"OBSERVATIONS": inputs.observed}
        read |= {} if inputs.raw_from == inputs.observed else {"RAW": inputs.raw_from}
    setting = " ".join(f"BLUETICK_{what}_NAMESPACE={whose}" for what, whose in read.items())
    goes_on = "ends here" if wish.until_present else "follows, until Ctrl-C"
    console.print(
        f"caught up: {into} is where {source} is, and this command {goes_on}. What comes next:\n"
        f"  compare   bluetick diff {source} {into}\n"
        f"  run       {' and '.join(plan.services)} with BLUETICK_NAMESPACE={into} {setting}\n"
        f"  switch    consumers from {source}.* to {into}.*\n"
        f"  drop      bluetick namespace drop {source} --keep-inputs",
        soft_wrap=True,
    )

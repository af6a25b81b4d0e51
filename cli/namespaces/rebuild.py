"""`bluetick rebuild`: derive a new namespace from the raw bodies of another, and follow."""

import asyncio
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from rich.console import Console

from cli.cancellation import run_until_stopped
from cli.namespaces.manage import Found, look
from cli.namespaces.rate import Mark, Pace
from cli.options import Rebuild
from cli.output import progress
from cli.problem_sentences import CommandProblem
from cli.processes import Running, Service, first_to_end, quiet, running
from cli.up.up import labelled
from deploy import topics
from deploy.local_kafka.broker import free_port
from processors.runtime.consumer_groups import Watch, commit, watching
from schemas.processor_list import NORMALISE, PROCESSORS, TRACK, processor
from schemas.topics import Topics
from schemas.webhook import to_iso
from service.kafka.failures import diagnosed
from service.settings import NAMESPACE, Settings

_LOOK_SECONDS = 0.5
_PRESENT_SECONDS = 5.0
_RETRY_SECONDS = 5.0

Begun = dict[str, dict[TopicPartition, int]]
"""By service, the first offsets of its inputs."""


@dataclass(frozen=True)
class Plan:
    """A rebuild: the settings of its source and its target, and the processors that run."""

    source: Settings
    target: Settings
    services: tuple[str, ...]

    @property
    def group(self) -> str:
        """The group whose offsets on the source's topics mark the target as its rebuild."""
        return self.target.topics.group(self.services[0])

    @property
    def inputs(self) -> tuple[str, ...]:
        """The source's topics that are read."""
        return self.target.topics.inputs(self.services[0])


def run(settings: Settings, wish: Rebuild) -> int:
    """Rebuild, and follow until Ctrl-C; returns the exit code."""
    return run_until_stopped(_rebuild(_plan(settings, wish), wish), _resume(wish))


def _plan(source: Settings, wish: Rebuild) -> Plan:
    if wish.into == source.namespace:
        raise CommandProblem(
            "rebuild_into_itself",
            "--into {into} is the namespace in use (BLUETICK_NAMESPACE); name a new one",
            into=wish.into,
        )
    if not re.fullmatch(NAMESPACE, wish.into) or not wish.into.strip("."):
        raise CommandProblem(
            "invalid_namespace",
            (
                "--into {into!r} is not a valid namespace; use at most 100 letters, digits, '.', "
                "'_' and '-'"
            ),
            into=wish.into,
        )
    inputs = {"raw_namespace": source.topics.raw_from}
    if wish.from_observations:
        inputs["observations_namespace"] = source.topics.observed
    target = source.of(wish.into).model_copy(update=inputs)
    return Plan(source, target, _services(target.topics, wish))


def _services(names: Topics, wish: Rebuild) -> tuple[str, ...]:
    """Return every processor, except those whose output is kept."""
    kept = {names.observations} if wish.from_observations else set()
    return tuple(one.name for one in PROCESSORS if not kept & {*names.outputs(one.name)})


async def _rebuild(plan: Plan, wish: Rebuild) -> int:
    console = Console(highlight=False)
    found = await look(plan.source)
    if plan.source.namespace not in found.namespaces:
        raise found.unknown(plan.source.namespace, "to rebuild")
    await topics.require_foreign(plan.target)
    try:
        async with watching(plan.target) as watch:
            await _begin(console, plan, wish, found, watch)
            return await _work(console, plan, wish, watch)
    except (KafkaError, OSError, TimeoutError) as error:
        raise await diagnosed(plan.source, error) from error


def _resume(wish: Rebuild) -> str:
    again = " --from-observations" if wish.from_observations else ""
    return f"stopped; resume with: bluetick rebuild --into {wish.into}{again} --resume"


async def _begin(console: Console, plan: Plan, wish: Rebuild, found: Found, watch: Watch) -> None:
    """Mark the target as a rebuild of the source or, when resuming, check the mark."""
    into = wish.into
    exists = found.holds(plan.target.topics)
    if wish.resume:
        if not exists:
            raise CommandProblem(
                "no_rebuild",
                "there is no rebuild {into} to resume; leave out --resume",
                into=into,
            )
        begun = {place.topic for place in await watch.committed(plan.group)}
        if begun != set(plan.inputs):
            raise CommandProblem(
                "other_rebuild",
                (
                    "the namespace {into} is not a rebuild from {inputs}; give the options of its "
                    "first run, or delete it: bluetick namespace drop {into}"
                ),
                into=into,
                inputs=", ".join(plan.inputs),
            )
    elif exists:
        raise CommandProblem(
            "namespace_exists",
            (
                "the namespace {into} exists ({exists}); if its rebuild was interrupted, add "
                "--resume, else name a new one, or delete it: bluetick namespace drop {into}"
            ),
            into=into,
            exists=exists,
        )
    else:
        beginnings = await watch.beginnings(plan.inputs)
        _print_reach(console, plan, beginnings, await watch.oldest(plan.inputs))
        _refuse_gap(wish, beginnings)
        # Before any topic: from now on the mark shows that the target is a rebuild.
        await commit(plan.target, plan.group, beginnings)
    await topics.apply(plan.target)


def _print_reach(
    console: Console,
    plan: Plan,
    beginnings: Mapping[TopicPartition, int],
    oldest: Mapping[TopicPartition, int],
) -> None:
    """Print how far back the inputs reach."""
    for topic in plan.inputs:
        times = [at for place, at in oldest.items() if place.topic == topic]
        gone = sum(offset for place, offset in beginnings.items() if place.topic == topic)
        since = f"reaches back to {to_iso(min(times))}" if times else "is empty"
        console.print(f"{topic} {since}" + (f"; {gone} older records are gone" if gone else ""))


def _refuse_gap(wish: Rebuild, beginnings: Mapping[TopicPartition, int]) -> None:
    """Raise `Problem` if the start of the log is gone, unless the user accepts the gap."""
    gone = {place: offset for place, offset in beginnings.items() if offset}
    if not gone or wish.accept_gap:
        return
    ranges = ", ".join(f"{p.topic}[{p.partition}] 0 to {gone[p] - 1}" for p in sorted(gone))
    what = "observations" if wish.from_observations else "bodies"
    raise CommandProblem(
        "rebuild_gap",
        (
            "retention has deleted the first {what} ({ranges}), and {into} would lack them; "
            "restore them from an archive (bluetick replay --archive), or accept the gap with "
            "--accept-gap"
        ),
        what=what,
        ranges=ranges,
        into=wish.into,
    )


async def _work(console: Console, plan: Plan, wish: Rebuild, watch: Watch) -> int:
    ports = {name: free_port(0) for name in plan.services}
    given = {processor(name).port_setting: port for name, port in ports.items()}
    settings = quiet(plan.target.model_copy(update=given))
    services = [Service(name, port, settings.health_host) for name, port in ports.items()]
    console.print(f"rebuilding {plan.source.namespace} into {wish.into}")
    began = time.monotonic()
    async with running(settings, services, labelled(console)) as started:
        catching_up = asyncio.create_task(_until_present(console, plan, watch))
        ended = asyncio.create_task(first_to_end(started))
        try:
            await asyncio.wait([catching_up, ended], return_when=asyncio.FIRST_COMPLETED)
            if not catching_up.done():
                raise ended.result().why()
            console.print(f"{catching_up.result()}; it took {time.monotonic() - began:.0f} s")
            _print_next(console, plan, wish)
            return 0 if wish.until_present else await _follow(console, wish, ended)
        finally:
            for task in (catching_up, ended):
                task.cancel()
            await asyncio.wait([catching_up, ended])


async def _follow(console: Console, wish: Rebuild, ended: asyncio.Task[Running]) -> int:
    """Let the services run until Ctrl-C, which is the normal end."""
    try:
        raise (await ended).why()
    except asyncio.CancelledError:
        console.print(_resume(wish), soft_wrap=True)
        return 0


async def _until_present(console: Console, plan: Plan, watch: Watch) -> str:
    """Show progress until the services have caught up; returns a summary.

    While Kafka is unavailable, it waits, as the services do.
    """
    begun: Begun = {}
    with progress.shown(console, transient=True) as bars:
        shown = _Shown(bars, plan)
        while True:
            try:
                begun = begun or await _beginnings(plan, watch)
                return await _catch_up(plan, watch, begun, shown)
            except (KafkaError, OSError, TimeoutError) as error:
                console.print(f"{await diagnosed(plan.source, error)}; waiting for it")
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
                shown.show(await _mark(plan, watch, begun))
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
    bodies, observations = counts.pop(NORMALISE.name, None), counts.pop(TRACK.name)
    return Mark(time.monotonic(), bodies, observations, counts)


class _Shown:
    """The progress of a rebuild: a bar for each service, with its rate and remaining time."""

    def __init__(self, shown: progress.Progress, plan: Plan) -> None:
        self._rate = Pace()
        self._counts = {name: shown.count(name) for name in plan.services}

    def show(self, mark: Mark) -> None:
        self._rate.add(mark)
        rate, left = self._rate, self._rate.left_seconds
        if mark.bodies is not None:
            self._counts[NORMALISE.name].show(*mark.bodies, f"bodies, {rate.bodies:,.0f}/s")
        to_go = "" if left is None else f", about {left:.0f} s to go"
        words = f"observations, {rate.observations:,.0f}/s{to_go}"
        self._counts[TRACK.name].show(mark.observations[0], rate.expected, words)
        for name, (done, there) in mark.others.items():
            self._counts[name].show(done, there, "records")


def _print_next(console: Console, plan: Plan, wish: Rebuild) -> None:
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

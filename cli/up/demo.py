"""`bluetick up --demo`: send examples and simulated messages, and compare the results."""

import asyncio
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from cli.cancellation import run_until_stopped
from cli.output import progress
from cli.output.records import Record
from cli.problem_sentences import CommandProblem
from cli.processes import quiet
from cli.simulator import http_client
from cli.simulator.requests import Post
from cli.simulator.send import Unwatched, deliver
from cli.simulator.simulate import simulate
from cli.tail import follow
from cli.up import demo_tables as tables
from cli.up import examples
from cli.up.reconciliation import CameOut, SentIn, reconcile, sent_in
from cli.up.up import Line, Progress, labelled, line
from deploy import topics
from processors.runtime.consumer_groups import lag
from schemas import codec
from schemas.processor_list import NORMALISE, PROCESSORS
from schemas.records import MessageState
from service.settings import Settings
from service.wall_clock import now_ms

_MESSAGES = 400
_SEED = 20
_DUPLICATES = 0.15
_MALFORMED = 0.03
_CATCH_UP_SECONDS = 120
_OVERVIEW = "/api/v1/overview?hours=8784"
_LOOK_SECONDS = 0.2
_OK = 200


class _Read(msgspec.Struct):
    loading: bool
    behind: int


class _Overview(msgspec.Struct):
    """What the console's overview says."""

    messages: int
    progress: _Read


def demo(settings: Settings, kafka_port: int | None) -> int:
    """Run the demo; returns 0 only if the output matches the input."""
    if settings.sources is not None:
        raise CommandProblem(
            "demo_with_sources", "the demo sends without proof; unset BLUETICK_SOURCES"
        )
    return run_until_stopped(_demo(settings, kafka_port or 0), "the demo was stopped")


async def _demo(settings: Settings, kafka_port: int) -> int:
    console = Console(highlight=False)
    settings = quiet(settings.model_copy(update=_own(settings)))
    with tempfile.TemporaryDirectory(prefix="bluetick-demo-") as data:
        settings = settings.model_copy(update={"data": Path(data)})
        steps = Progress(console)
        try:
            async with line(settings, kafka_port, steps, labelled(console)) as up_:
                steps.stop()
                agrees = await _through(console, up_)
                if up_.console and console.is_terminal:
                    await _look(console, up_.console)
        finally:
            steps.stop()
            if "kafka" in settings.model_fields_set:
                await topics.drop(settings)
    console.print("stopped")
    return 0 if agrees else 1


def _own(settings: Settings) -> dict[str, object]:
    """Return the demo's settings: free ports, and on a given cluster a namespace of its own."""
    changes: dict[str, object] = {} if "port" in settings.model_fields_set else {"port": 0}
    if "kafka" in settings.model_fields_set:
        changes["namespace"] = f"{settings.namespace}-demo-{secrets.token_hex(3)}"
    return changes


async def _through(console: Console, up_: Line) -> bool:
    """Send everything, wait until it is processed, and show the results."""
    documented = examples.load()
    simulation = simulate(
        messages=_MESSAGES,
        base_time_ms=now_ms() - 24 * 3600 * 1000,
        seed=_SEED,
        duplicates=_DUPLICATES,
        shuffle=True,
        malformed=_MALFORMED,
    )
    ours = len(simulation.truth.lifecycles)
    console.print(
        f"\nSending every example of the provider documents ({len(documented)}) and {_MESSAGES} "
        f"simulated messages ({ours} of ours and {_MESSAGES - ours} from customers): shuffled, in "
        "batches, with repeated and malformed reports"
    )
    await _send(console, up_, [*map(_post, documented), *simulation.posts])
    out, letters = await _collect(up_)
    _show(console, out, letters)
    agrees = _reconciled(console, sent_in(documented, simulation.truth), out)
    return agrees and (up_.console is None or await _console_agrees(console, up_.console, out))


async def _console_agrees(console: Console, url: str, out: CameOut) -> bool:
    """Wait until the console has read everything, and compare its number of messages."""
    async with asyncio.timeout(_CATCH_UP_SECONDS):
        while True:
            answer = await http_client.get(url, _OVERVIEW)
            if answer.status == _OK:
                shown = msgspec.json.decode(answer.body, type=_Overview)
                if not shown.progress.loading and shown.progress.behind == 0:
                    break
            await asyncio.sleep(_LOOK_SECONDS)
    agrees = shown.messages == len(out.states)
    verdict = "the same" if agrees else f"[bold red]not the {len(out.states):,} of the topics[/]"
    console.print(f"The console shows {shown.messages:,} messages: {verdict}.\n")
    return agrees


async def _look(console: Console, url: str) -> None:
    """Keep everything running until Ctrl-C, so that a person can look at it."""
    console.print(f"  console    {url}\n\nCtrl-C ends the demo and deletes its data.\n")
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def _send(console: Console, up_: Line, posts: list[Post]) -> None:
    with progress.shown(console, transient=True) as shown:
        sending = shown.count("posting webhooks", len(posts))
        delivered = await deliver(up_.webhooks, posts, progress=_Advancing(sending))
        if delivered.refused:
            raise CommandProblem(
                "webhooks_refused",
                "ingest refused webhooks, by status: {answers}; see its log above",
                answers=dict(delivered.answers),
            )
        following = shown.count("waiting for the processors")
        await _until_through(up_, lambda left: following.show(0, None, left))
    console.print(f"{len(posts):,} webhooks posted, each answered 200\n")


class _Advancing(Unwatched):
    """Advances a bar with every answer."""

    def __init__(self, count: progress.Count) -> None:
        self._count = count

    def answered(self, status: int) -> None:
        del status  # the sum is checked at the end
        self._count.advance()


async def _until_through(up_: Line, show: Callable[[str], None]) -> None:
    """Wait until each processor's group has committed the end of its input."""
    settings = up_.settings
    steps = [(one.name, settings.topics.inputs(one.name)) for one in PROCESSORS]
    try:
        async with asyncio.timeout(_CATCH_UP_SECONDS):
            for service, inputs in steps:
                while left := await lag(settings, settings.topics.group(service), inputs):
                    show(f"{service}: {left} records to go")
                    for one in up_.services:
                        if one.ended:
                            raise one.why()
    except TimeoutError:
        raise CommandProblem(
            "demo_timed_out",
            "the demo's records are not processed after {seconds} s; see the log above",
            seconds=_CATCH_UP_SECONDS,
        ) from None


async def _collect(up_: Line) -> tuple[CameOut, list[tuple[str, str, str]]]:
    """Read the derived topics as another service would, and the normaliser's counters."""
    settings = up_.settings
    names = settings.topics
    out = CameOut(
        statuses=[codec.decode_status(r.value) for r in await _read(settings, names.statuses)],
        events=[codec.decode_event(r.value) for r in await _read(settings, names.events)],
        inbound=[codec.decode_inbound(r.value) for r in await _read(settings, names.inbound)],
    )
    states = [
        codec.decode_by_key((r.key or b"").decode(), r.value)
        for r in await _read(settings, names.messages)
    ]
    out.states = {one.message_key: one for one in states if isinstance(one, MessageState)}
    letters = [_letter(dict(r.headers)) for r in await _read(settings, names.dead_letters)]
    out.dead_letters = Counter(code for code, _, _ in letters)
    metrics = (await http_client.get(up_.url(NORMALISE.name), "/metrics")).body.decode()
    out.observations = _count(metrics, "bluetick_observations", "status").total()
    out.ignored = _count(metrics, "bluetick_ignored_events", "event")
    return out, letters


async def _read(settings: Settings, topic: str) -> list[Record]:
    """Return all records of a topic up to its present end."""
    return [r async for r in follow(settings, topic, from_start=True, until_end=True)]


def _letter(headers: dict[str, bytes]) -> tuple[str, str, str]:
    """Return the code, reason and origin of a dead letter, from its headers."""
    texts = {name: value.decode() for name, value in headers.items()}
    topic, partition, offset, reason = (
        texts[f"__streams.errors.{name}"] for name in ("topic", "partition", "offset", "message")
    )
    place = f"{topic.rpartition('.')[2]}[{partition}]@{offset}"
    return texts["dead-letter-code"], reason, f"{place} {texts['dead-letter-pointer']}".rstrip()


def _count(metrics: str, name: str, label: str) -> Counter[str]:
    """Return a counter's values by one of its labels."""
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == f"{name}_total":
                counts[sample.labels[label]] += round(sample.value)
    return counts


def _show(console: Console, out: CameOut, letters: list[tuple[str, str, str]]) -> None:
    for table in (
        tables.funnel(out.states.values()),
        tables.oddities(out),
        tables.inbound(out),
        tables.dead_letters(letters),
        tables.timeline(tables.most_telling(out.statuses, out.events), out.statuses),
    ):
        console.print(table, "")


def _reconciled(console: Console, sent: SentIn, out: CameOut) -> bool:
    lines = reconcile(sent, out)
    console.print(tables.account(lines))
    agrees = all(one.agrees for one in lines)
    verdict = "[green]Yes: nothing lost, nothing duplicated." if agrees else "[bold red]No."
    console.print(f"{verdict}[/]\n")
    return agrees


def _post(sample: examples.Sample) -> Post:
    headers = {"content-type": "application/json", **sample.headers}
    return Post(sample.source, bytes(sample.body), sample.method, sample.path, headers)

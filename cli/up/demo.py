"""`bluetick up --demo`: examples and simulated messages through the whole line, and the account."""

import asyncio
import secrets
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TaskID

from cli.output import tables
from cli.output.records import Record
from cli.simulator import http_client
from cli.simulator.requests import Post
from cli.simulator.send import Unwatched, deliver
from cli.simulator.simulate import simulate
from cli.tail import follow
from cli.up import examples
from cli.up.reconciliation import CameOut, SentIn, sent_in, settle
from cli.up.up import Line, Progress, line, worries
from deploy import topics
from processors.runtime.consumer_groups import lag
from schemas import codec
from schemas.records import MessageState
from service.errors import Problem
from service.settings import Settings
from service.signals import run_until_signal
from service.wall_clock import now_ms

_MESSAGES = 400
_SEED = 20
_DUPLICATES = 0.15
_MALFORMED = 0.03
_SETTLE_SECONDS = 120
_INTERRUPTED = 130


def demo(settings: Settings, kafka_port: int | None) -> int:
    """Run it all and end; returns 0 only if what came out is what was sent in."""
    if settings.sources is not None:
        raise Problem("the demo sends without proof; leave BLUETICK_SOURCES unset for it")
    return run_until_signal(_demo(settings, kafka_port or 0), stopped=_INTERRUPTED)


async def _demo(settings: Settings, kafka_port: int) -> int:
    console = Console(highlight=False)
    settings = settings.model_copy(update=_own(settings))
    with tempfile.TemporaryDirectory(prefix="bluetick-demo-") as data:
        progress = Progress(console)
        try:
            async with line(settings, kafka_port, Path(data), progress, worries(console)) as up_:
                progress.stop()
                agrees = await _through(console, up_)
        finally:
            progress.stop()
            if "kafka" in settings.model_fields_set:
                await topics.drop(settings)
    console.print("stopped")
    return 0 if agrees else 1


def _own(settings: Settings) -> dict[str, object]:
    """On a cluster not ours the demo keeps to topics of its own; its ports are any free ones."""
    changes: dict[str, object] = {} if "port" in settings.model_fields_set else {"port": 0}
    if "kafka" in settings.model_fields_set:
        changes["namespace"] = f"{settings.namespace}-demo-{secrets.token_hex(3)}"
    return changes


async def _through(console: Console, up_: Line) -> bool:
    """Send everything in, wait until it is through, show what came out."""
    documented = examples.load()
    simulation = simulate(
        messages=_MESSAGES,
        base_time_ms=now_ms() - 24 * 3600 * 1000,
        seed=_SEED,
        duplicates=_DUPLICATES,
        shuffle=True,
        malformed=_MALFORMED,
    )
    console.print(
        f"\nSending every example of the provider documents ({len(documented)}) and {_MESSAGES} "
        "simulated messages, some reports twice, shuffled, in batches, with malformed ones between"
    )
    await _send(console, up_, [*map(_post, documented), *simulation.posts])
    out, letters = await _collect(up_)
    _show(console, out, letters)
    return _settled(console, sent_in(documented, simulation.truth), out)


async def _send(console: Console, up_: Line, posts: list[Post]) -> None:
    with Bar(console=console, transient=True) as bar:
        sending = bar.add_task("posting webhooks", total=len(posts))
        delivered = await deliver(up_.webhooks, posts, progress=_Advancing(bar, sending))
        if delivered.refused:
            raise Problem(f"ingest refused webhooks, by status: {dict(delivered.answers)}")
        following = bar.add_task("following them through Kafka", total=None)
        await _until_through(up_, lambda left: bar.update(following, description=left))
    console.print(f"{len(posts)} webhooks posted, each answered 200\n")


class _Advancing(Unwatched):
    """Moves a bar with every answer."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def answered(self, status: int) -> None:
        del status  # the sum is judged at the end
        self._bar.advance(self._task)


async def _until_through(up_: Line, tell: Callable[[str], None]) -> None:
    """Wait until both groups have committed the end of their input."""
    settings = up_.settings
    steps = [("normalise", settings.topics.raw_topics), ("track", [settings.topics.observations])]
    try:
        async with asyncio.timeout(_SETTLE_SECONDS):
            for service, inputs in steps:
                while left := await lag(settings, settings.topics.group(service), inputs):
                    tell(f"{service}: {left} records to go")
                    for one in up_.services:
                        if one.ended:
                            raise one.why()
    except TimeoutError:
        raise Problem(f"not through after {_SETTLE_SECONDS} s; see the log above") from None


async def _collect(up_: Line) -> tuple[CameOut, list[tuple[str, str, str]]]:
    """Read the derived topics as any service would, and the normaliser's counters."""
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
    metrics = (await http_client.get(up_.url("normalise"), "/metrics")).body.decode()
    out.observations = _count(metrics, "bluetick_observations", "status").total()
    out.ignored = _count(metrics, "bluetick_ignored_events", "event")
    return out, letters


async def _read(settings: Settings, topic: str) -> list[Record]:
    """Everything on a topic up to its present end."""
    return [r async for r in follow(settings, topic, from_start=True, until_end=True)]


def _letter(headers: dict[str, bytes]) -> tuple[str, str, str]:
    """Code, reason and origin of a dead letter, from its headers."""
    texts = {name: value.decode() for name, value in headers.items()}
    topic, partition, offset, reason = (
        texts[f"__streams.errors.{name}"] for name in ("topic", "partition", "offset", "message")
    )
    place = f"{topic.rpartition('.')[2]}[{partition}]@{offset}"
    return texts["dead-letter-code"], reason, f"{place} {texts['dead-letter-pointer']}".rstrip()


def _count(metrics: str, name: str, label: str) -> Counter[str]:
    """A counter's values by one of its labels."""
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


def _settled(console: Console, sent: SentIn, out: CameOut) -> bool:
    lines = settle(sent, out)
    console.print(tables.account(lines))
    agrees = all(one.agrees for one in lines)
    verdict = "[green]Yes: nothing lost, nothing doubled." if agrees else "[bold red]No."
    console.print(f"{verdict}[/]\n")
    return agrees


def _post(sample: examples.Sample) -> Post:
    headers = {"content-type": "application/json", **sample.headers}
    return Post(sample.source, bytes(sample.body), sample.method, sample.path, headers)

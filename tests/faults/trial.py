"""One trial: a namespace of its own, its workers and traffic, and the verdict at the end."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from confluent_kafka import KafkaException

from deploy import topics
from deploy.local_kafka.broker import free_port
from ingest.spool.database import FILE, look
from ingest.spool.slots import known
from service.settings import Settings
from tests.broker.reading import Read, read
from tests.faults import workers
from tests.faults.cluster import Cluster
from tests.faults.fold import judge_stores
from tests.faults.load import Load
from tests.faults.posting import Posting, refused
from tests.faults.readers import LiveReader
from tests.faults.report import Affected, Beside
from tests.faults.truth import Harm, arrivals, effects, judge_facts, judge_inbound, judge_raw
from tests.faults.workers import PORTS, DiedError, Service, Worker
from tests.faults.world import Environment, World
from tests.oracle.compare import OUTPUTS, Found, compare_observations, compare_outputs
from tests.oracle.expected import (
    ExpectedOutputs,
    expect_observations,
    expect_outputs,
    records_of,
)

_PARTITIONS = 4
_RATE = 250.0
_AGED = 40
_LOOK_SECONDS = 0.1
# How long healing may take. Nothing is measured by it: it tells slow from never.
_PATIENCE_SECONDS = 150.0
_END_SECONDS = 10.0


class NeverError(Exception):
    """Something that had to become true did not."""


class Trial:
    """What a scenario works with.

    `did` counts the faults by what they were; `seconds` holds what was measured, by name;
    `failures` what a scenario found wrong itself. With `bars` it judges figures, too.
    """

    def __init__(  # noqa: PLR0917 - each is named where it is given
        self,
        environment: Environment,
        settings: Settings,
        home: Path,
        random: Random,
        live: LiveReader,
        load: Load | Posting,
    ) -> None:
        self.environment = environment
        self.settings = settings
        self.home = home
        self.random = random
        self.did: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.workers: list[Worker] = []
        self.harms: list[Harm] = []
        self.affected: list[Affected] = []
        self.spools: list[Path] = []
        self.resident: dict[str, int] = {}
        self.beside: Beside | None = None
        self.failures: list[str] = []
        self.bars = False
        self.load = load
        self.live = live
        self._loading = asyncio.create_task(self.load.run())
        self._numbers = count(1)
        self._aged = False

    @property
    def world(self) -> World:
        """The one broker and its proxy."""
        assert isinstance(self.environment, World)
        return self.environment

    @property
    def cluster(self) -> Cluster:
        """The three brokers."""
        assert isinstance(self.environment, Cluster)
        return self.environment

    @property
    def posting(self) -> Posting:
        """The load, where it comes by HTTP."""
        assert isinstance(self.load, Posting)
        return self.load

    @contextmanager
    def harm(self, name: str) -> Iterator[None]:
        """Note what is done meanwhile, and for how long."""
        self.harms.append(harm := Harm(name, time.time()))
        yield
        harm.ended = time.time()
        self.did["faults"] += 1

    async def start(
        self,
        service: Service,
        *,
        ready: bool = True,
        slot: str | None = None,
        sabotage: str | None = None,
        open_files: int | None = None,
        **environment: object,
    ) -> Worker:
        """Start a worker; `slot` names its data directory if another has had it before it.

        `environment` holds further settings: failpoint, instance, kafka … `open_files` limits its
        file descriptors.
        """
        name = f"{service}-{next(self._numbers)}"
        names = ("kafka", "namespace", "partitions", "session_timeout", "transaction_timeout")
        settings = {one: getattr(self.settings, one) for one in (*names, "timer_grace")}
        settings |= {"data": self.home / (slot or name), PORTS[service]: free_port(0)}
        settings |= {key: value for key, value in environment.items() if value is not None}
        log = self.home / f"{name}.log"
        worker = await workers.start(
            name, service, settings, log, sabotage=sabotage, open_files=open_files
        )
        self.workers.append(worker)
        if ready:
            await self.until(worker.ready, f"{name} ready")
        return worker

    def running(self, service: Service) -> list[Worker]:
        return [one for one in self.workers if one.running and one.service == service]

    async def until(
        self,
        holds: Callable[[], Awaitable[object]],
        what: str,
        seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        """Wait for something to become true; `NeverError` if it does not."""
        deadline = time.monotonic() + seconds
        while not await holds():
            if time.monotonic() > deadline:
                raise NeverError(f"not within {seconds:.0f} s: {what}{self._logs()}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def shared(self, service: Service) -> None:
        """Wait until the workers that run have all partitions of their input between them."""
        total = len(self._inputs(service))

        async def all_are() -> bool:
            there = [await one.partitions() for one in self.running(service)]
            return sum(there) == total

        await self.until(all_are, f"all partitions worked on by {service}")

    async def has_all(self, worker: Worker) -> None:
        """Wait until one worker has all partitions of its input."""
        total = len(self._inputs(worker.service))

        async def has() -> bool:
            return await worker.partitions() == total

        await self.until(has, f"all partitions worked on by {worker.name}")

    async def caught_up(self) -> None:
        """Wait until spools are empty, and normalise and track have committed their input's end."""
        await self.until(self._drained, "spools empty")
        for service in ("normalise", "track"):
            await self.until(lambda s=service: self._at_end(s), f"{service} caught up")  # type: ignore[misc]

    async def traffic(self, bodies: int) -> None:
        """Wait until so many more bodies are on Kafka."""
        wanted = self.load.sent + bodies

        async def are_there() -> bool:
            return self.load.sent >= wanted

        await self.until(are_there, "traffic")

    async def published(self, records: int) -> None:
        """Wait until the live reader has seen so many more records on `statuses`."""
        wanted = self.live.count(self.settings.topics.statuses) + records

        async def are_seen() -> bool:
            self._alive("track")
            return self.live.count(self.settings.topics.statuses) >= wanted

        await self.until(are_seen, f"{records} more statuses published")

    async def elapse(self, seconds: float) -> None:
        """Let time pass: this is how long a fault lasts, not a wait for anything."""
        await asyncio.sleep(seconds)

    async def taken(self, service: Service) -> int:
        """How many records of its input a service has committed."""
        group, places = self.settings.topics.group(service), self._inputs(service)
        return sum(await asyncio.to_thread(self.environment.admin.committed, group, places))

    async def cut(self, service: Service) -> int:
        """Delete all records of a service's input up to now; the sum of where it now begins."""
        places, admin = self._inputs(service), self.environment.admin
        ends = await asyncio.to_thread(admin.ends, places)
        for place, end in zip(places, ends, strict=True):
            await asyncio.to_thread(admin.cut, *place, end)
        return sum(ends)

    async def grow(self, service: Service) -> None:
        """Give the input of a service one more partition."""
        for topic in {topic for topic, _ in self._inputs(service)}:
            count = self.settings.partitions + 1
            await asyncio.to_thread(self.environment.admin.grow, topic, count)

    async def configure(self, topic: str | None, name: str, value: str) -> None:
        """Give a topic another setting; None: the broker."""
        await asyncio.to_thread(self.environment.admin.configure, topic, name, value)

    async def age(self) -> None:
        """Write messages that are past their time to live; normalise must not be disturbed now."""
        self._aged = True
        await self.load.aged(_AGED)

    async def loaded(self) -> None:
        """Wait until the load that was stopped has ended."""
        await asyncio.wait([self._loading])
        self._loading.result()

    async def raw(self) -> list[Read]:
        """Everything on the raw topics."""
        return [r for topic in self.settings.topics.raw_topics for r in await self._read(topic)]

    async def heal(self) -> None:
        """Take all faults away: whole network, unarmed workers, one of each at least."""
        self.environment.heal()
        for worker in self.workers:
            worker.resume()
        armed = [one for one in self.workers if one.running and one.armed]
        await asyncio.gather(*(one.stop() for one in armed))
        for service in ("normalise", "track"):
            if not self.running(service):
                await self.start(service)
            await self.shared(service)

    async def finish(self, *, repeats: bool) -> list[str]:
        """Heal, let everything be processed, end in good order; all that is wrong then."""
        await self.heal()
        self.load.stop()
        await self.loaded()
        await self.caught_up()
        if not self._aged:
            await self.age()
        await self.caught_up()
        tracked = await self._expected()
        wrong = await self._vainly(lambda: self._fired(tracked), "all events")
        for worker in self.workers:
            await worker.stop()
        wrong += [worker.trouble for worker in self.workers if worker.trouble]
        wrong += await self._vainly(self.closed, "no transaction left open")
        return wrong + await self._judged(tracked, repeats=repeats)

    async def close(self) -> None:
        """End everything at once."""
        self._loading.cancel()
        await asyncio.wait([self._loading])
        for worker in self.workers:
            worker.kill()
        await asyncio.gather(*(worker.ended() for worker in self.workers))

    async def _vainly(self, holds: Callable[[], Awaitable[bool]], what: str) -> list[str]:
        """Wait for what must become true while anything still comes; if it does not, say so."""
        seen = -1
        while seen != (seen := self.live.total()):
            try:
                await self.until(holds, what, _END_SECONDS)
            except NeverError as error:
                wrong = [str(error)]
            else:
                return []
        return wrong

    async def _expected(self) -> ExpectedOutputs:
        observations = await read(self.settings.kafka, self.settings.topics.observations)
        now = round((time.time() - self.settings.timer_grace) * 1000)
        return await asyncio.to_thread(expect_outputs, records_of(observations), now)

    async def _fired(self, tracked: ExpectedOutputs) -> bool:
        topic = f"{self.settings.namespace}.events"
        return self.live.count(topic) >= tracked.count("events")

    async def _judged(self, tracked: ExpectedOutputs, *, repeats: bool) -> list[str]:
        names = self.settings.topics
        late = {name: await self._read(name) for name in self.live.records}

        async def seen() -> bool:
            return all(self.live.count(name) >= len(records) for name, records in late.items())

        wrong = await self._vainly(seen, "everything seen by the live reader")
        found = Found(late, self.live.records)
        partitions = self.settings.partitions
        wrong += await asyncio.to_thread(compare_outputs, names, partitions, found, tracked)
        raw = await self.raw()
        expected = await asyncio.to_thread(expect_observations, names, raw)
        if isinstance(self.load, Posting):
            wrong += await asyncio.to_thread(self._judged_posts, self.load, raw, late)
        observations, letters = [
            await self._read(n) for n in (names.observations, names.dead_letters)
        ]
        self.did["bodies"] = self.load.sent
        self.did["statuses"] = len(late[names.statuses])
        self.did["repeated observations"] = len(observations) - len(expected.observations)
        changelog = late[names.messages]
        self.did["stores"], wrong_stores = await asyncio.to_thread(
            judge_stores, self.home, names.namespace, changelog
        )
        wrong += wrong_stores
        return wrong + compare_observations(observations, letters, expected, repeats=repeats)

    def _judged_posts(
        self, posting: Posting, raw: Sequence[Read], late: Mapping[str, Sequence[Read]]
    ) -> list[str]:
        """All that is wrong by what was known of the posts; notes what the faults did to them."""
        names = self.settings.topics
        seen = self.live.seen[names.statuses]
        found = arrivals(self.live.records[names.statuses], seen, raw, posting.taken)
        for harm, effect in zip(self.harms, effects(found, self.harms), strict=True):
            self.affected.append(Affected(harm.name, harm.ended - harm.began, *effect))
            self.affected[-1].refused = [
                refused(posting.answers, target, harm.began, harm.ended + effect.again)
                for target in range(posting.targets)
            ]
        return [
            *judge_raw(raw, posting.posted, posting.taken),
            *judge_facts(late[names.statuses], posting.truths),
            *judge_inbound(late[f"{names.namespace}.inbound"], posting.truths),
        ]

    async def _read(self, topic: str) -> list[Read]:
        return await read(self.settings.kafka, topic)

    def _inputs(self, service: Service) -> list[tuple[str, int]]:
        names = self.settings.topics
        inputs = names.raw_topics if service == "normalise" else (names.observations,)
        return self._places(*inputs)

    def _places(self, *names: str) -> list[tuple[str, int]]:
        return [(name, number) for name in names for number in range(self.settings.partitions)]

    async def _drained(self) -> bool:
        places = [place for spool in self.spools for place in known(spool)]
        held = await asyncio.to_thread(lambda: [look(place / FILE) for place in places])
        return not any(held)

    async def _at_end(self, service: Service) -> bool:
        self._alive(service)
        places, admin = self._inputs(service), self.environment.admin
        group = self.settings.topics.group(service)
        try:
            ends = await asyncio.to_thread(admin.ends, places)
            return await asyncio.to_thread(admin.committed, group, places) == ends
        except KafkaException:
            return False

    async def closed(self) -> bool:
        """Whether readers may see every record: none is of a transaction that has not ended."""
        places, admin = self._places(*self.live.records), self.environment.admin
        stable = await asyncio.to_thread(admin.ends, places)
        return stable == await asyncio.to_thread(lambda: admin.ends(places, stable=False))

    def _alive(self, service: Service) -> None:
        if not self.running(service):
            raise DiedError(f"no {service} runs any more{self._logs()}")

    def _logs(self) -> str:
        told = [one for one in self.workers if one.running or one.trouble]
        tails = [f"\n  {one.name}: {one.tail()}" for one in told]
        return "".join(tails)


@asynccontextmanager
async def trial(
    environment: Environment,
    namespace: str,
    random: Random,
    *,
    posts: float | None = None,
    unread: str = "",
    **settings: Any,
) -> AsyncIterator[Trial]:
    """A trial with its topics made and traffic flowing; afterwards nothing of it runs.

    `posts`: the load comes by HTTP, so many posts a second, once there is an ingest. `unread`: the
    live reader keeps statuses alone, and none with this word in its key.
    """
    options = {"partitions": _PARTITIONS, "session_timeout": 6, "timer_grace": 5} | settings
    home = environment.home / namespace
    home.mkdir(parents=True)
    given = Settings(kafka=environment.bootstrap, namespace=namespace, **options)
    await topics.apply(given)
    names = [f"{namespace}.{topic}" for topic in OUTPUTS] + [given.topics.messages]
    if unread:
        names = [given.topics.statuses]
    with LiveReader(given.kafka, names, given.partitions, unread=unread) as live:
        load = Posting(random, posts) if posts else Load(given, random, _RATE)
        trial = Trial(environment, given, home, random, live, load)
        try:
            yield trial
        finally:
            await trial.close()
    if not trial.failures:  # else the logs of Kafka are evidence
        await topics.drop(given)

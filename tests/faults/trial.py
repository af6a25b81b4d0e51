"""One trial: a namespace, its workers and traffic, and the comparison at the end."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException

from deploy.local_kafka.broker import free_port
from ingest.spool.database import FILE, look
from ingest.spool.slots import known
from service.settings import Settings
from tests.broker.reading import Read, read
from tests.faults import workers
from tests.faults.cluster import Cluster
from tests.faults.http_load import HttpLoad, refused
from tests.faults.kafka_load import KafkaLoad
from tests.faults.known_facts import (
    FaultPeriod,
    arrivals,
    compare_facts,
    compare_inbound,
    compare_raw,
    effects,
)
from tests.faults.live_reader import LiveReader
from tests.faults.report import Affected, HonestTraffic
from tests.faults.single_broker import Environment, SingleBroker
from tests.faults.store_check import compare_stores
from tests.faults.workers import PORTS, DiedError, Service, Worker
from tests.oracle.compare import Found, compare_observations, compare_outputs
from tests.oracle.expected import (
    ExpectedOutputs,
    expect_observations,
    expect_outputs,
    records_of,
)

_AGED = 40
_LOOK_SECONDS = 0.1
# The longest that recovery may take: a wait that exceeds it fails the trial.
_PATIENCE_SECONDS = 150.0
_END_SECONDS = 10.0


class NeverError(Exception):
    """A condition that had to become true did not."""


class Trial:
    """The state of a trial, and the actions of scenarios.

    `did` counts the faults by name, `seconds` holds measured times by name, `failures` the errors
    that the scenario found itself. With `limits` figures over their limit are errors too.
    """

    def __init__(  # noqa: PLR0917 - callers name the arguments
        self,
        environment: Environment,
        settings: Settings,
        home: Path,
        random: Random,
        live: LiveReader,
        load: KafkaLoad | HttpLoad,
    ) -> None:
        self.environment = environment
        self.settings = settings
        self.home = home
        self.random = random
        self.did: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.workers: list[Worker] = []
        self.fault_periods: list[FaultPeriod] = []
        self.affected: list[Affected] = []
        self.spools: list[Path] = []
        self.resident_mb: dict[str, int] = {}
        self.honest_traffic: HonestTraffic | None = None
        self.failures: list[str] = []
        self.limits = False
        self._refused = ""
        self.load = load
        self.live = live
        self._loading = asyncio.create_task(self.load.run())
        self._numbers = count(1)
        self._aged = False

    @property
    def single(self) -> SingleBroker:
        """The one broker and its proxy."""
        assert isinstance(self.environment, SingleBroker)
        return self.environment

    @property
    def cluster(self) -> Cluster:
        """The three brokers."""
        assert isinstance(self.environment, Cluster)
        return self.environment

    @property
    def http_load(self) -> HttpLoad:
        """The load, if it comes by HTTP."""
        assert isinstance(self.load, HttpLoad)
        return self.load

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Record a fault that lasts as long as the context."""
        self.fault_periods.append(fault := FaultPeriod(name, time.time()))
        yield
        fault.ended = time.time()
        self.did["faults"] += 1

    async def start(
        self,
        service: Service,
        *,
        ready: bool = True,
        slot: str | None = None,
        sabotage: str | None = None,
        open_files: int | None = None,
        checkout: Path | None = None,
        **environment: object,
    ) -> Worker:
        """Start a worker; `slot` names its data directory, which an earlier worker may have used.

        `environment` holds further settings: failpoint, instance, kafka and others. `open_files`
        limits its file descriptors. `checkout` is the directory of other code to run.
        """
        name = f"{service}-{next(self._numbers)}"
        names = ("kafka", "namespace", "partitions", "session_timeout", "transaction_timeout")
        settings = {one: getattr(self.settings, one) for one in (*names, "timer_grace")}
        settings |= {"data": self.home / (slot or name), PORTS[service]: free_port(0)}
        settings |= {key: value for key, value in environment.items() if value is not None}
        log = self.home / f"{name}.log"
        worker = await workers.start(
            *(name, service, settings, log),
            sabotage=sabotage,
            open_files=open_files,
            checkout=checkout,
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
        """Wait until a condition holds; raise `NeverError` if it does not."""
        deadline = time.monotonic() + seconds
        while not await holds():
            if time.monotonic() > deadline:
                raise NeverError(f"not within {seconds:.0f} s: {what}{self._refused}{self._logs()}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def shared(self, service: Service) -> None:
        """Wait until the running workers together have all partitions of their input."""
        total = len(self._inputs(service))

        async def all_are() -> bool:
            there = [await one.partitions() for one in self.running(service)]
            return sum(there) == total

        await self.until(all_are, f"all partitions assigned to {service}")

    async def has_all(self, worker: Worker) -> None:
        """Wait until one worker has all partitions of its input."""
        total = len(self._inputs(worker.service))

        async def has() -> bool:
            return await worker.partitions() == total

        await self.until(has, f"all partitions assigned to {worker.name}")

    async def caught_up(self) -> None:
        """Wait until spools are empty, and normalise and track have committed their input's end."""
        await self.until(self._drained, "spools empty")
        for service in ("normalise", "track"):
            await self.until(lambda s=service: self._at_end(s), f"{service} caught up")  # type: ignore[misc]

    async def traffic(self, bodies: int) -> None:
        """Wait until `bodies` more bodies are on Kafka."""
        wanted = self.load.sent + bodies

        async def are_there() -> bool:
            return self.load.sent >= wanted

        await self.until(are_there, "traffic")

    async def published(self, records: int) -> None:
        """Wait until the live reader has seen `records` more records on `statuses`."""
        wanted = self.live.count(self.settings.topics.statuses) + records

        async def are_seen() -> bool:
            self._alive("track")
            return self.live.count(self.settings.topics.statuses) >= wanted

        await self.until(are_seen, f"{records} more statuses published")

    async def elapse(self, seconds: float) -> None:
        """Let time pass: this is the duration of a fault, not a wait for a condition."""
        await asyncio.sleep(seconds)

    async def taken(self, service: Service) -> int:
        """Return how many records of its input a service has committed."""
        group, partitions = self.settings.topics.group(service), self._inputs(service)
        return sum(await asyncio.to_thread(self.environment.admin.committed, group, partitions))

    async def cut(self, service: Service) -> int:
        """Delete all records of a service's input; return the sum of its new first offsets."""
        partitions, admin = self._inputs(service), self.environment.admin
        ends = await asyncio.to_thread(admin.ends, partitions)
        for partition, end in zip(partitions, ends, strict=True):
            await asyncio.to_thread(admin.cut, *partition, end)
        return sum(ends)

    async def grow(self, service: Service) -> None:
        """Add a partition to the input of a service."""
        for topic in {topic for topic, _ in self._inputs(service)}:
            count = self.settings.partitions + 1
            await asyncio.to_thread(self.environment.admin.grow, topic, count)

    async def configure(self, topic: str | None, name: str, value: str) -> None:
        """Change a setting of a topic; None: of the broker."""
        await asyncio.to_thread(self.environment.admin.configure, topic, name, value)

    async def age(self) -> None:
        """Write messages that are past their time to live; normalise must run undisturbed now."""
        self._aged = True
        await self.load.aged(_AGED)

    async def loaded(self) -> None:
        """Wait until the stopped load has ended."""
        await asyncio.wait([self._loading])
        self._loading.result()

    async def raw(self) -> list[Read]:
        """Return all records of the raw topics."""
        return [r for topic in self.settings.topics.raw_topics for r in await self._read(topic)]

    async def end_faults(self) -> None:
        """End all faults, stop armed workers, and run at least one worker of each service."""
        self.environment.end_faults()
        for worker in self.workers:
            worker.resume()
        armed = [one for one in self.workers if one.running and one.armed]
        await asyncio.gather(*(one.stop() for one in armed))
        for service in ("normalise", "track"):
            if not self.running(service):
                await self.start(service)
            await self.shared(service)

    async def finish(self, *, repeats: bool) -> list[str]:
        """End all faults, process everything, stop cleanly; return all that is wrong then."""
        await self.end_faults()
        self.load.stop()
        await self.loaded()
        await self.caught_up()
        if not self._aged:
            await self.age()
        await self.caught_up()
        tracked = await self._expected()
        wrong = await self._wait_or_report(lambda: self._fired(tracked), "all events")
        for worker in self.workers:
            await worker.stop()
        wrong += [worker.trouble for worker in self.workers if worker.trouble]
        wrong += await self._wait_or_report(self.closed, "no hanging transaction")
        return wrong + await self._compared(tracked, repeats=repeats)

    async def close(self) -> None:
        """Kill all workers and stop the load."""
        self._loading.cancel()
        await asyncio.wait([self._loading])
        for worker in self.workers:
            worker.kill()
        await asyncio.gather(*(worker.ended() for worker in self.workers))

    async def _wait_or_report(self, holds: Callable[[], Awaitable[bool]], what: str) -> list[str]:
        """Wait for a condition as long as new records come; return an error if it stays false."""
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

    async def _compared(self, tracked: ExpectedOutputs, *, repeats: bool) -> list[str]:
        names = self.settings.topics
        late = {name: await self._read(name) for name in self.live.records}

        async def seen() -> bool:
            return all(self.live.count(name) >= len(records) for name, records in late.items())

        wrong = await self._wait_or_report(seen, "all records seen by the live reader")
        found = Found(late, self.live.records)
        partitions = self.settings.partitions
        wrong += await asyncio.to_thread(compare_outputs, names, partitions, found, tracked)
        raw = await self.raw()
        expected = await asyncio.to_thread(expect_observations, names, raw)
        if isinstance(self.load, HttpLoad):
            wrong += await asyncio.to_thread(self._compared_posts, self.load, raw, late)
        observations, letters = [
            await self._read(n) for n in (names.observations, names.dead_letters)
        ]
        self.did["bodies"] = self.load.sent
        self.did["statuses"] = len(late[names.statuses])
        self.did["repeated observations"] = len(observations) - len(expected.observations)
        changelog = late[names.messages]
        self.did["stores"], wrong_stores = await asyncio.to_thread(
            compare_stores, self.home, names.namespace, changelog
        )
        wrong += wrong_stores
        return wrong + compare_observations(observations, letters, expected, repeats=repeats)

    def _compared_posts(
        self, posting: HttpLoad, raw: Sequence[Read], late: Mapping[str, Sequence[Read]]
    ) -> list[str]:
        """Return all differences from the known facts; note the effects of the faults."""
        names = self.settings.topics
        seen = self.live.seen[names.statuses]
        found = arrivals(self.live.records[names.statuses], seen, raw, posting.answered)
        for fault, effect in zip(
            self.fault_periods, effects(found, self.fault_periods), strict=True
        ):
            self.affected.append(Affected(fault.name, fault.ended - fault.began, *effect))
            self.affected[-1].refused = [
                refused(posting.answers, target, fault.began, fault.ended + effect.again)
                for target in range(posting.targets)
            ]
        return [
            *compare_raw(raw, posting.posted, posting.answered),
            *compare_facts(late[names.statuses], posting.truths),
            *compare_inbound(late[f"{names.namespace}.inbound"], posting.truths),
        ]

    async def _read(self, topic: str) -> list[Read]:
        return await read(self.settings.kafka, topic)

    def _inputs(self, service: Service) -> list[tuple[str, int]]:
        names = self.settings.topics
        inputs = names.raw_topics if service == "normalise" else (names.observations,)
        return self._partitions(*inputs)

    def _partitions(self, *names: str) -> list[tuple[str, int]]:
        return [(name, number) for name in names for number in range(self.settings.partitions)]

    async def _drained(self) -> bool:
        slots = [slot for spool in self.spools for slot in known(spool)]
        held = await asyncio.to_thread(lambda: [look(slot / FILE) for slot in slots])
        return not any(held)

    async def _at_end(self, service: Service) -> bool:
        self._alive(service)
        partitions, admin = self._inputs(service), self.environment.admin
        group = self.settings.topics.group(service)
        try:
            ends = await asyncio.to_thread(admin.ends, partitions)
            return await asyncio.to_thread(admin.committed, group, partitions) == ends
        except KafkaException as error:
            self._refused = f"; the suite's last request failed: {error}"
            return False

    async def closed(self) -> bool:
        """Whether readers can read every record: no transaction is open."""
        partitions, admin = self._partitions(*self.live.records), self.environment.admin
        stable = await asyncio.to_thread(admin.ends, partitions)
        return stable == await asyncio.to_thread(lambda: admin.ends(partitions, stable=False))

    def _alive(self, service: Service) -> None:
        if not self.running(service):
            raise DiedError(f"no worker of {service} runs any more{self._logs()}")

    def _logs(self) -> str:
        shown = [one for one in self.workers if one.running or one.trouble]
        tails = [f"\n  {one.name}: {one.tail()}" for one in shown]
        return "".join(tails)

"""Scenarios with wrong clocks, set by libfaketime: statuses and alarms must stay right.

Senders and Kafka keep the machine's own clock. Some messages are delivered and some are not. The
time until an alarm is short, so an alarm caused by a wrong clock comes at once.
"""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deploy import topics
from deploy.local_kafka.broker import free_port
from service.settings import Settings
from tests.broker.reading import Read, read
from tests.faults import workers
from tests.faults.scenario import scenario
from tests.faults.trial import NeverError, Trial
from tests.faults.workers import Service, Worker

_HOUR = 3600
_LIBRARIES = "*/faketime/libfaketimeMT.so.1", "faketime/libfaketimeMT.so.1"
_PLACES = "/usr/lib", "/usr/lib64", "/usr/local/lib"

_MESSAGES = 30
_DELIVERED = 20  # of those messages; the others must be reported as stalled
_GRACE_SECONDS = 2.0
_SLACK_MS = 20_000  # between the sender's time and ingest's; a post may need a retry
_METRIC = "bluetick_clock_offset_seconds"
_UNREADY_SECONDS = 60
_NOTICED_SECONDS = 10.0
_PAUSES = 0.0, 0.5, 2.0
_SPARE_SECONDS = 20.0


@dataclass(frozen=True)
class Case:
    """By how many seconds the clocks of ingests and tracker are ahead of Kafka's.

    `back`: by how many seconds the ingests' clocks are set back while they run. `away`: Kafka is
    down when the ingests start.
    """

    name: str
    ingests: Sequence[int] = (0,)
    track: int = 0
    spool: bool = False
    back: int = 0
    away: bool = False
    patience: float = 15.0


CASES = (
    Case("ingest 1 h behind", [-_HOUR]),
    Case("ingest 55 min ahead", [3300]),
    Case("ingest 61 min ahead", [3660]),
    Case("ingest 61 min ahead, with a spool", [3660], spool=True),
    Case("one of two ingests 55 min ahead", [0, 3300]),
    Case("ingest set back 20 min while it runs", [0], back=1200),
    Case("tracker 30 min ahead", track=1800),
    Case("tracker 61 min ahead", track=3660),
    Case("tracker 1 h behind", track=-_HOUR),
    Case("ingest 1 h behind, tracker 1 h ahead", [-_HOUR], track=_HOUR),
    Case("ingest 1 h ahead, tracker 1 h behind", [_HOUR], track=-_HOUR),
    Case(
        "ingest 1 h behind, Kafka down at its start", [-_HOUR], spool=True, away=True, patience=45
    ),
)
SHORT = (CASES[3], CASES[9])


@scenario("clocks", {"cases": len(CASES)}, long=True, uncompared=True)
async def clocks(trial: Trial) -> None:
    """Set clocks of ingest and tracker up to 2 h apart: all statuses and alarms are right."""
    trial.load.stop()
    wrong = []
    for case in CASES:
        wrong += await _run_case(trial, case)
    assert not wrong, "; ".join(wrong)


@scenario("clocks-short", {"cases": len(SHORT)}, long=True, uncompared=True)
async def clocks_short(trial: Trial) -> None:
    """Run two of these cases at the same time."""
    trial.load.stop()
    found = await asyncio.gather(*(_run_case(trial, case) for case in SHORT))
    wrong = [one for each in found for one in each]
    assert not wrong, "; ".join(wrong)


def library() -> Path:
    """Return the path of libfaketime; raise `AssertionError` with a remedy if it is missing."""
    found = [path for place in _PLACES for one in _LIBRARIES for path in Path(place).glob(one)]
    assert found, "libfaketime is missing; install it: apt-get install libfaketime"
    return found[0]


async def _run_case(trial: Trial, case: Case) -> list[str]:
    """Run a case in a namespace of its own; return its errors, with the case's name."""
    number = trial.did["cases"] = trial.did["cases"] + 1
    given = Settings(
        kafka=trial.settings.kafka,
        namespace=f"{trial.settings.namespace}-{number}",
        partitions=2,
        session_timeout=6,
        timer_grace=_GRACE_SECONDS,
        stalled_queued=case.patience,
    )
    await topics.apply(given)
    one = _Case(trial, case, given)
    try:
        wrong = await one.run()
    finally:
        await one.stop()
    await topics.drop(given)
    return [f"{case.name}: {each}" for each in wrong]


class _Case:
    """Runs one case."""

    def __init__(self, trial: Trial, case: Case, given: Settings) -> None:
        self._trial = trial
        self._case = case
        self._given = given
        self._library = library()
        self._workers: list[tuple[Worker, int]] = []
        self._posted: dict[str, float] = {}
        self._answers: list[int] = []

    async def run(self) -> list[str]:
        await self._start_all()
        await self._post("sending", range(_MESSAGES))
        if self._case.away:
            await self._trial.single.kafka.start()
        wrong = await self._missing("statuses", _MESSAGES, "status")
        self._set_back()
        await self._post("delivered", range(_DELIVERED))
        count = _MESSAGES + _DELIVERED
        wrong += await self._missing("statuses", count, "status")
        wrong += await self._wrong_clocks()
        wrong += await self._missing("events", _MESSAGES - _DELIVERED, "stalled")
        self._trial.did["alarms"] += _MESSAGES - _DELIVERED
        self._trial.did["statuses"] += count
        wrong += self._wrong_answers() + await self._wrong_records()
        return wrong

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker, _ in self._workers))

    async def _start_all(self) -> None:
        """Start a normaliser and a tracker with the tracker's clock, then the ingests."""
        for service in ("normalise", "track"):
            await self._start(service, self._case.track)
        await self._serving("normalise", "track")
        if self._case.away:
            self._trial.single.kafka.kill()
        for ahead in self._case.ingests:
            await self._start("ingest", ahead)
        await self._serving("ingest")

    async def _serving(self, *services: Service) -> None:
        for worker in [one for one, _ in self._workers if one.service in services]:
            await self._trial.until(lambda w=worker: _serves(w), f"{worker.name} serving")  # type: ignore[misc]

    async def _start(self, service: Service, ahead: int) -> None:
        number = len(self._workers)
        name = f"{self._given.namespace}-{service}-{number}"
        file = self._trial.home / f"{name}.clock"
        file.write_text(f"{ahead:+d}\n")
        names = "kafka", "namespace", "partitions", "session_timeout", "timer_grace"
        settings: dict[str, object] = {one: getattr(self._given, one) for one in names}
        settings |= {"stalled_queued": self._given.stalled_queued, "drain": 0}
        settings |= {"data": self._trial.home / name, "ingest_metrics_port": free_port(0)}
        settings |= {("port" if service == "ingest" else f"{service}_health_port"): free_port(0)}
        if service == "ingest" and self._case.spool:
            settings["spool"] = self._trial.home / f"{name}.spool"
        preload = {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        log = self._trial.home / f"{name}.log"
        worker = await workers.start(name, service, settings, log, extra=preload)
        self._trial.workers.append(worker)
        self._workers.append((worker, ahead))

    def _set_back(self) -> None:
        if self._case.back:
            for number, (worker, ahead) in enumerate(self._workers):
                if worker.service == "ingest":
                    shown = ahead - self._case.back
                    (self._trial.home / f"{worker.name}.clock").write_text(f"{shown:+d}\n")
                    self._workers[number] = worker, shown

    async def _post(self, word: str, numbers: Sequence[int]) -> None:
        ingests = [worker for worker, _ in self._workers if worker.service == "ingest"]
        for number in numbers:
            now = time.time()
            body = json.dumps([_report(number, word, now)]).encode()
            self._posted[f"{word} {number}"] = now * 1000
            ingest = ingests[number % len(ingests)]
            self._answers.append(await _sent(ingest, body))

    def _wrong_answers(self) -> list[str]:
        refused = [status for status in self._answers if status != workers.OK]
        if not refused:
            return []
        return [f"{len(refused)} of {len(self._answers)} posts answered {refused[0]}"]

    async def _read(self, topic: str) -> list[Read]:
        return await read(self._given.kafka, f"{self._given.namespace}.{topic}")

    async def _missing(self, topic: str, count: int, kind: str) -> list[str]:
        """Wait for `count` records of a kind; return what is missing."""

        async def found() -> int:
            return sum(_kind(one) == kind for one in await self._read(topic))

        async def there() -> bool:
            return await found() >= count

        await self._wait(there, self._case.patience + _SPARE_SECONDS)
        return [] if await there() else [f"{await found()} of {count} {kind} published"]

    async def _wrong_records(self) -> list[str]:
        """Return what is wrong with the times of raw records, with statuses, with alarms."""
        raw = await self._read("raw.smsmanager")
        wrong = [one for body in raw for one in self._mistimed(body)][:1]
        statuses: dict[str, list[str]] = {}
        for record in await self._read("statuses"):
            statuses.setdefault(record.key, []).append(json.loads(record.value)["status"])
        good = [["sending", "delivered"]] * _DELIVERED + [["sending"]] * (_MESSAGES - _DELIVERED)
        if sorted(statuses.values()) != sorted(good):
            wrong.append(f"statuses are {sorted(statuses.values())}")
        alarms = [one for one in await self._read("events") if _kind(one) == "stalled"]
        false = [one for one in alarms if self._false(one)]
        if false or len(alarms) > len({one.key for one in alarms}):
            wrong.append(f"{len(alarms)} alarms, {len(false)} of them false")
        return wrong

    def _mistimed(self, record: Read) -> list[str]:
        [report] = json.loads(record.value)
        posted = self._posted[f"{report['result']} {report['message_id'].rpartition('-')[2]}"]
        at = record.headers["ce_time"].decode()
        apart = _unix(at) - posted
        return [] if abs(apart) < _SLACK_MS else [f"received {apart / 1000:.0f} s after its post"]

    def _false(self, alarm: Read) -> bool:
        """Whether an alarm came too early, or for a message that was delivered by then."""
        number = int(alarm.key.rpartition("-")[2])
        due = self._posted[f"sending {number}"] + self._case.patience * 1000
        return alarm.timestamp < due or self._posted.get(f"delivered {number}", math.inf) < due

    async def _wrong_clocks(self) -> list[str]:
        """Wait until each service reports its clock offset; return the wrong reports."""
        wrong = [""]

        async def right() -> bool:
            wrong[:] = [one for each in self._workers for one in await _clock_errors(*each)]
            return not wrong

        await self._wait(right, _NOTICED_SECONDS)
        return wrong

    async def _wait(self, holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait for a condition, but no longer than this."""
        with suppress(NeverError):
            await self._trial.until(holds, self._case.name, seconds)


async def _sent(ingest: Worker, body: bytes) -> int:
    """Post a webhook, with a few retries as providers do; return the last status."""
    answer = 0
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        answer = await ingest.post("/webhooks/smsmanager", body)
        if answer == workers.OK:
            break
    return answer


async def _clock_errors(worker: Worker, ahead: int) -> list[str]:
    """Return what is wrong with a service's measured offset, its health and its log."""
    wrong = []
    found = await worker.metric(_METRIC)
    if found is None or not abs(found - ahead) < 1:
        wrong.append(f"{worker.service} measures {found}, and its clock is {ahead} s ahead")
    problems = " ".join(await worker.problems() or [])
    if ("Kafka's (±" in problems) != (abs(ahead) > _UNREADY_SECONDS):
        wrong.append(f"{worker.service}'s clock is {ahead} s ahead; health says: {problems}")
    if ahead and not worker.logged("this machine's clock is"):
        wrong.append(f"{worker.service} does not log that its clock is wrong")
    return wrong


async def _serves(worker: Worker) -> bool:
    """Whether a service has no problem except, perhaps, its clock."""
    problems = await worker.problems()
    return problems is not None and all("Kafka's (±" in one for one in problems)


def _report(number: int, word: str, now: float) -> dict[str, object]:
    return {
        "message_id": f"m-{number}",
        "gateway": "sms",
        "timestamp": int(now),
        "type": "outgoing",
        "to": {"phone_number": "447700900123"},
        "result": word,
    }


def _kind(record: Read) -> str:
    return record.headers["ce_type"].decode().rpartition(".")[2]


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000

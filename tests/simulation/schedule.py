"""One schedule: events drawn from one seed, then the end of all faults and the comparison."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.exactly_once.partition_store import Anchor
from schemas.topics import COMPACTION_LAG_MS, STATE_TTL_DAYS
from tests.simulation import checks
from tests.simulation.checks import Monitor, Reader, ViolationError
from tests.simulation.connection import FAULTS, Connection, arrive
from tests.simulation.kafka_model import GROUP, Broker
from tests.simulation.observations import DAY, HOUR, MINUTE, SECOND, ObservationSource
from tests.simulation.rules import ALL, Rules
from tests.simulation.store_model import Image, Store
from tests.simulation.worker import GRACE_MS, OLDEST_MS, TRANSACTION_MS, Worker, incomplete, whole

_BEGIN = 1_700_000_000_000
_MOST_OBSERVATIONS = 12
_SHORTEST, _LONGEST = 40, 240
_NAMES = ("a", "b")
_TICKS = (1 * SECOND, 20 * SECOND, 10 * MINUTE, 1 * HOUR, 24 * HOUR, 8 * DAY, 40 * DAY)
_ENDS = (0, 2 * MINUTE, 11 * MINUTE, 25 * HOUR, 46 * DAY)
_TOMBSTONES_KEPT = 7 * DAY
_ABSENCE = (0, 40 * DAY, 6 * DAY, 8 * DAY)
_PROMPT = 5 * SECOND  # an answer read after that is late
_ROUNDS = 100
_STEPS_A_ROUND = 300
_STEPS_A_BATCH = 12


class Verdict(NamedTuple):
    """The result of a schedule; `failure` is None if everything held."""

    seed: int
    failure: str | None
    steps: int
    happened: Counter[str]


def run(
    seed: int,
    rules: Rules = ALL,
    trace: Callable[[str], None] | None = None,
) -> Verdict:
    """Run the schedule of a seed; `trace` is called with a line for each event."""
    schedule = Schedule(seed, rules, trace)
    failure = None
    try:
        schedule.run()
    except ViolationError as violation:
        failure = str(violation)
    except Exception as error:  # noqa: BLE001 - any error is a failure of this seed
        failure = f"{type(error).__name__}: {error}"
    return Verdict(seed, failure, schedule.steps, schedule.happened)


class Schedule:
    """Two workers, one partition, and the events that happen to them."""

    def __init__(
        self,
        seed: int,
        rules: Rules,
        trace: Callable[[str], None] | None,
    ) -> None:
        self.steps = 0
        self.happened: Counter[str] = Counter()
        self._rng = Random(seed)
        self._rules = rules
        self._trace = trace
        self._broker = Broker(checks.TOPICS)
        self._broker.now = _BEGIN
        self._monitor = Monitor(self._broker, self.happened)
        self._readers = [Reader(self._broker.logs[topic]) for topic in checks.OUTPUTS]
        self._observations = ObservationSource(self._rng, _BEGIN)
        self._left = self._rng.randint(1, _MOST_OBSERVATIONS)
        self._stores = {name: Store() for name in _NAMES}
        self._copies: list[tuple[str, Image]] = []
        self._alive: dict[str, Worker] = {}
        self._requests: list[Callable[[], object]] = []  # delayed; no caller waits for them
        self._owner = "a"
        self._read_before = 0  # the offset that the group had before it was lost

    def run(self) -> None:
        self._start("a")
        kinds, weights = self._kinds()
        for kind in self._rng.choices(kinds, weights, k=self._rng.randint(_SHORTEST, _LONGEST)):
            kind()
        self._heal()

    def _kinds(self) -> tuple[list[Callable[[], None]], list[int]]:
        """Return the possible events and their weights; each schedule has only some faults."""
        faults = {
            self._kill: 1,
            self._freeze: 2,
            self._revoke: 1,
            self._damage: 2,
            self._break: 6,
            self._overtime: 1,
            self._compact: 2,
            self._late: 3,
            self._absence: 2,
            self._restart: 1,
            self._split: 2,
            self._lose_offset: 1,
        }
        chosen: dict[Callable[[], None], int] = {
            f: w for f, w in faults.items() if self._rng.random() < 0.6
        }
        usual: dict[Callable[[], None], int] = {
            self._run_owner: 60,
            self._zombie: 12,
            self._poll: 16,
            self._observe: 7,
            self._tick: 5,
            self._write_markers: 8,
            self._read: 3,
        }
        both = usual | chosen
        return list(both), list(both.values())

    # Normal operation.

    def _run_owner(self) -> None:
        self._step(self._owner)

    def _step(self, name: str) -> str:
        worker = self._alive[name]
        at = next(worker.steps)
        self.steps += 1
        if at in ("fenced", "failed"):
            self.happened[f"a worker was {at}" if at == "fenced" else "a batch failed"] += 1
        self._say(worker.name, at)
        return at

    def _zombie(self) -> None:
        """A worker that lost the partition without knowing it continues until it is fenced."""
        zombies = [name for name in self._alive if name != self._owner]
        if not zombies:
            return
        self.happened["a zombie's step"] += 1
        if self._step(zombies[0]) == "fenced" and self._rng.random() < 0.7:
            self._close(zombies[0])

    def _poll(self) -> None:
        for worker in self._alive.values():
            draw = self._rng.random()
            if draw < 0.6:
                worker.poll()
            if draw < 0.8 and (worker.fetched is None or draw < 0.4):
                worker.fetch(self._rng.randint(1, 3))
                self._say(worker.name, "fetches")
            if draw > 0.2:
                self._receive(worker)

    def _poll_once(self, worker: Worker, most: int) -> bool:
        """Make a whole poll; return whether it brought records."""
        worker.poll()
        worker.fetch(most)
        return self._receive(worker)

    def _receive(self, worker: Worker) -> bool:
        answer = worker.fetched
        if answer is None:
            return False
        if self._broker.now - answer.at > _PROMPT:
            self.happened["a late answer"] += 1
        self._say(worker.name, f"reads what it fetched: {len(answer.records)}")
        return worker.receive()

    def _observe(self) -> None:
        if self._left:
            self._left -= 1
            for record in self._broker.logs["observations"].append(
                self._observations.next(self._broker.now)
            ):
                self._say("log", f"observation {record.offset}: {record.value!r}")

    def _tick(self, most: int | None = None) -> None:
        """Let time pass, sometimes just up to the next timer."""
        passed = self._rng.choice(_TICKS) if most is None else most
        due = [t.due for w in self._alive.values() for t in w.store.timers]
        if due and most is None and self._rng.random() < 0.4:
            passed = max(0, min(due) - self._broker.now + self._rng.randrange(2 * GRACE_MS))
        if self._may_be_split():
            passed = min(passed, 10 * MINUTE)
        if self._is_incomplete() or self._is_behind():
            passed = min(passed, 20 * SECOND)  # a recovery follows soon
        self._broker.now += passed
        self._say("clock", f"+{passed} ms")
        expired = self._broker.expire()
        self.happened["a transaction expired"] += expired

    def _is_split(self) -> bool:
        """Whether a transaction is incomplete, or outputs may still have to be left out."""
        logs, note = self._broker.logs, Note.of(self._broker.note)
        newest = max([r.time for r in logs["messages"].committed(0)], default=0)
        outputs = [r.time for topic in checks.OUTPUTS for r in logs[topic].committed(0)]
        latest = max(note.stamp, *outputs, 0)
        if self._is_incomplete():
            return True
        return note.window is not None or latest > max(newest, self._broker.now - OLDEST_MS)

    def _is_incomplete(self) -> bool:
        """Whether states are visible of a transaction whose other parts are not."""
        note = Note.of(self._broker.note)
        committed = whole(self._broker, note, self._broker.offset or 0)
        return bool(incomplete(self._broker, committed).times)

    def _may_be_split(self) -> bool:
        """Whether time must pass slowly: outputs are left out for a day only."""
        return bool(self._broker.markers_due()) or self._is_split() or self._is_behind()

    def _is_behind(self) -> bool:
        """Whether records are read again because the group's offset was lost."""
        return (self._broker.offset or 0) < self._read_before

    def _next_offset(self) -> int:
        """The offset at which the next owner continues."""
        offset = self._broker.offset or 0
        return min(offset, Note.of(self._broker.note).begin) if self._is_split() else offset

    def _write_markers(self) -> None:
        for name, count in self._broker.markers_due():
            self._broker.write_markers(name, self._rng.randrange(count))
            self._say("broker", f"writes a marker of {name}")

    def _read(self) -> None:
        for reader in self._readers:
            reader.read()

    # Faults.

    def _kill(self) -> None:
        """Kill a worker; its last writes may be lost. One of the two starts in its place."""
        name = self._rng.choice(list(self._alive))
        store = self._stores[name]
        kept = self._rng.randrange(len(store.images))
        if self._rng.random() < 0.4:
            kept = len(store.images) - 1
        self.happened["a kill"] += 1
        self.happened["writes lost in a kill"] += kept < len(store.images) - 1
        store.crash(kept)
        del self._alive[name]
        self._say(name, f"is killed; its store keeps {kept} writes")
        if name == self._owner:
            self._start(self._rng.choice(_NAMES))

    def _freeze(self) -> None:
        """The group assigns the partition to the other worker; the first does not know."""
        if len(self._alive) == 1:
            self.happened["a takeover from a frozen worker"] += 1
            self._say(self._owner, "is frozen")
            self._start(_NAMES[self._owner == "a"])

    def _revoke(self) -> None:
        """The partition is revoked and assigned to the other worker."""
        self.happened["a revocation"] += 1
        self._close(self._owner)
        self._start(_NAMES[self._owner == "a"])

    def _damage(self) -> None:
        """Damage the store of a worker that is not running."""
        for name in _NAMES:
            if name not in self._alive:
                self._rng.choice([self._lose, self._age, self._swap])(name)

    def _lose(self, name: str) -> None:
        self.happened["a store lost"] += 1
        self._stores[name].wipe()
        self._say(name, "has lost its store")

    def _age(self, name: str) -> None:
        """Replace the store with an old copy of either worker's."""
        if self._copies:
            self.happened["an old copy of a store"] += 1
            self._stores[name] = Store(self._rng.choice(self._copies)[1].copy())
            self._say(name, f"has an old store, anchor {self._stores[name].anchor}")

    def _swap(self, name: str) -> None:
        """Use a store of an earlier topic of that name: its anchor is another record here."""
        log = self._broker.logs["messages"]
        if log.end:
            self.happened["a store of another log"] += 1
            states = checks.stored_states(self._broker.logs["observations"])
            anchor = Anchor(self._rng.randrange(log.end), self._broker.now + SECOND)
            self._stores[name] = Store(Image(states, set(), anchor))
            self._say(name, f"has a store of another log, anchor {anchor}")

    def _break(self) -> None:
        """Give a worker's next request a fault; half of the time that is its next commit."""
        name = self._rng.choice(list(self._alive))
        fault = self._rng.choice(FAULTS)
        if self._rng.random() < 0.5:
            self._observe()
            self._poll_once(self._alive[name], 1)
            at_commit = any(self._step(name) == "commit" for _ in range(_STEPS_A_BATCH))
            self.happened[f"a commit {fault}"] += at_commit
        self.happened[f"a request {fault}"] += 1
        self._alive[name].connection.fault = fault
        self._say(name, f"next request: {fault}")

    def _restart(self) -> None:
        """Restart the broker: connections break, requests on their way and markers are lost."""
        self._requests.clear()
        for name in self._broker.ids:
            share = self._rng.choice((1, 0.5, 0.2))
            lost = self._broker.lose_markers(name, lambda s=share: self._rng.random() < s)  # type: ignore[misc]
            self.happened["a marker lost"] += len(lost)
            self._say("broker", f"restarts, and has lost the markers of {name} for {lost}")
        self._monitor.on_markers_lost(self._next_offset())
        for worker in self._alive.values():
            worker.connection.losses += 1

    def _split(self) -> None:
        """The owner's next transaction is ended in two ways; connections break meanwhile.

        Not once messages expire: the same fact may then be published twice, in two lives of its
        message, and after a second recovery its id does not say which is left out (decision 16).
        While one split is repaired, states that are committed alone are not split again.
        """
        if self._broker.now > _BEGIN + (STATE_TTL_DAYS - 1) * DAY:
            return
        repairing = self._is_split()
        self._observe()
        self._poll_once(self._alive[self._owner], 1)
        if any(self._step(self._owner) == "commit" for _ in range(_STEPS_A_BATCH)):
            self._step(self._owner)
        without_states = ({"messages": 1}, {"messages": 1, GROUP: 0.3})
        with_states = () if repairing else ({GROUP: 1}, {GROUP: 0.3})
        shares = self._rng.choice((*without_states, *with_states))
        other = self._rng.choice((0, 0.3, 1))
        states, recent = self._broker.logs["messages"], self._broker.now - 10 * MINUTE
        for name in self._broker.ids:
            if any(record.time < recent for record in states.opened(name)):
                continue  # in a real tracker a transaction takes seconds
            aborted = self._broker.split(
                name, lambda part: self._rng.random() < shares.get(part, other)
            )
            if aborted:
                self.happened["a transaction split"] += 1
                self._say("broker", f"commits a transaction of {name}, but not in {aborted}")
                self._monitor.on_markers_lost(self._next_offset())
                for worker in self._alive.values():
                    worker.connection.losses += 1

    def _lose_offset(self) -> None:
        """The group's offset is lost, and the owner recovers: it reads everything again.

        Neither while a transaction is split or open, nor once messages expire.
        """
        late = self._broker.now > _BEGIN + (STATE_TTL_DAYS - 1) * DAY
        if late or self._may_be_split() or any(self._broker.open_ids()):
            return
        self._read_before = self._broker.offset or 0
        self._broker.offset, self._broker.note = None, ""
        self.happened["an offset lost"] += 1
        self._say("broker", "has lost the group's offset")
        self._monitor.on_markers_lost(0)
        for worker in self._alive.values():
            worker.connection.losses += 1

    def _overtime(self) -> None:
        self._tick(TRANSACTION_MS)

    def _compact(self) -> None:
        """Compact the changelog up to a random offset."""
        log = self._broker.logs["messages"]
        recent = self._broker.now - COMPACTION_LAG_MS
        young = min((r.offset for r in log.records if r.time > recent), default=log.end)
        below = min(self._rng.randint(0, log.end), young)
        gone = log.compact(below, self._broker.now, _TOMBSTONES_KEPT)
        self.happened["records compacted away"] += gone
        self._say("broker", f"compacts {gone} records away")

    def _absence(self) -> None:
        """The owner is away for a long time, and returns with its old store."""
        self._revoke()
        for passed in _ABSENCE:
            self._observe()
            self._tick(passed)
            self._round()
            self._compact()
        self._revoke()

    def _late(self) -> None:
        """Let a delayed request arrive; its caller does not wait any more."""
        if self._requests:
            self.happened["a late request"] += 1
            newest = len(self._requests) - 1
            number = newest if self._rng.random() < 0.5 else self._rng.randrange(newest + 1)
            arrive(self._requests.pop(number))
            self._say("network", "a late request arrives")

    # Start and end of workers.

    def _start(self, name: str) -> None:
        if name in self._alive:
            self._close(name)
        self._owner = name
        self._alive[name] = Worker(
            name,
            self._broker,
            Connection(self._requests),
            self._stores[name],
            rules=self._rules,
            on_write=self._monitor.on_write,
        )
        self._say(name, "starts")

    def _close(self, name: str) -> None:
        """Stop a worker cleanly: its store is flushed."""
        del self._alive[name]
        self._stores[name].flush()
        if self._rng.random() < 0.5:
            self._copies.append((name, self._stores[name].images[0].copy()))
        self._say(name, "is closed")

    # The end.

    def _heal(self) -> None:
        """End all faults, deliver the rest, let the owner finish, and compare with the oracle."""
        self._say("", "all faults end")
        for name in [name for name in self._alive if name != self._owner]:
            self._close(name)
        self._alive[self._owner].connection.fault = None
        while self._left:
            self._observe()
        if self._may_be_split():
            self._finish()
        self._tick(self._rng.choice(_ENDS))
        self._finish()
        self._read()
        horizon = self._broker.now - GRACE_MS
        checks.compare(self._broker, self._stores[self._owner], self._readers, horizon)

    def _finish(self) -> None:
        """Continue until no work is left."""
        for _ in range(_ROUNDS):
            self._late()
            if self._round() and not self._broker.markers_due() and not self._requests:
                return
        raise ViolationError("the owner does not become idle")

    def _round(self) -> bool:
        """Let the owner process what is there; return whether it has no work left."""
        self._write_markers()
        worker = self._alive[self._owner]
        received = self._poll_once(worker, 3)
        idle = self._until_idle()
        return idle and not received and worker.quiet_until() == self._broker.now

    def _until_idle(self) -> bool:
        for _ in range(_STEPS_A_ROUND):
            if (at := self._step(self._owner)) in ("idle", "failed", "fenced"):
                return at == "idle"
        return False

    def _say(self, who: str, what: str) -> None:
        if self._trace is not None:
            seconds = (self._broker.now - _BEGIN) / SECOND
            self._trace(f"{seconds:>12,.3f} s  {who:6} {what}")

"""Negative controls: a rule is broken on purpose, and the suite must notice.

Each is a scenario that passes with the product as it is, and must fail with the sabotage that bears
its name. A control that passes with it says that the suite is blind.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from tests.faults.network import late_once
from tests.faults.proxy import END_TXN
from tests.faults.registry import Scenario
from tests.faults.spoiling import NAMED, spoiled
from tests.faults.trial import Trial
from tests.faults.zombies import haunt


class _Act(Protocol):
    async def __call__(self, trial: Trial, sabotage: str | None) -> None: ...


@dataclass(frozen=True)
class Control:
    """A rule of tests.faults.sabotage, and the scenario in which breaking it must show.

    `named`: what the judge must say, each of it; else anything lost or doubled is enough.
    """

    rule: str
    act: _Act
    fault: str
    settings: dict[str, Any] = field(default_factory=dict)
    brokers: int = 1
    posts: float | None = None
    named: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        return (self.act.__doc__ or "").strip().partition("\n")[0]

    def scenario(self, *, broken: bool) -> Scenario:
        act = partial(self.act, sabotage=self.rule if broken else None)
        name = f"{self.rule} {'broken' if broken else 'kept'}"
        return Scenario(
            name,
            act,
            {self.fault: 1},
            brokers=self.brokers,
            posts=self.posts,
            settings=self.settings,
        )


async def _zombie(trial: Trial, sabotage: str | None) -> None:
    """A tracker stands still before a transaction, another takes over, the first goes on.

    Not inside of one, nor in one of another partition: the other waits for what is open, whoever
    opened it.
    """
    await trial.start("normalise")
    failpoint = f"track.before_begin=stop@{trial.random.randrange(1, 20)}"
    zombie = await trial.start("track", ready=False, failpoint=failpoint, sabotage=sabotage)
    assert await zombie.stands(), zombie.tail()
    heir = await trial.start("track", sabotage=sabotage)
    await haunt(trial, zombie, heir)


async def _refused(trial: Trial, sabotage: str | None) -> None:
    """Kafka refuses batches of statuses for a while."""
    await trial.start("normalise")
    worker = await trial.start("track", sabotage=sabotage)
    await trial.published(100)
    topic = trial.settings.topics.statuses
    await trial.configure(topic, "max.message.bytes", "400")
    worker.refuses = True
    before = await trial.taken("track")

    async def has_met_it() -> bool:
        return not worker.running or await trial.taken("track") > before + 200

    await trial.until(has_met_it, "batches refused")
    trial.did["refusals"] += 1
    await trial.configure(topic, "max.message.bytes", "2097152")
    if not worker.running:
        assert worker.said("as too large"), worker.tail()
        await trial.start("track", sabotage=sabotage)
    # Not until something is published: a producer with a gap in its sequence may never do so.
    await trial.traffic(300)


async def _killed(trial: Trial, sabotage: str | None) -> None:
    """A tracker is killed before its commit, twice, and comes back to its store."""
    await trial.start("normalise")
    for _ in range(2):
        failpoint = f"track.after_offsets=kill@{trial.random.randrange(5, 20)}"
        worker = await trial.start(
            "track",
            ready=False,
            sabotage=sabotage,
            slot="one",
            instance="one",
            failpoint=failpoint,
        )
        await worker.ended()
        trial.did["kills"] += 1
    await trial.start("track", slot="one", instance="one", sabotage=sabotage)


async def _held(trial: Trial, sabotage: str | None) -> None:
    """A commit is held on its way until the tracker, past its deadline, has begun again."""
    await trial.start("normalise")
    proxy = trial.world.proxy
    worker = await trial.start("track", sabotage=sabotage, kafka=proxy.bootstrap)
    await trial.published(100)
    for _ in range(2):
        ready = worker.said("ready, at offset")
        held = proxy.hold(END_TXN)
        await held.caught

        async def goes_on(before: int = ready) -> bool:
            return worker.said("ready, at offset") > before

        await trial.until(goes_on, "the tracker goes on")
        held.release()
        trial.did["held commits"] += 1
        await trial.published(100)


async def _late(trial: Trial, sabotage: str | None) -> None:
    """A commit is held and asked for again; the first request arrives in a later transaction."""
    await trial.start("normalise")
    for cut in (False, True):
        await late_once(trial, cut=cut, sabotage=sabotage)
    await trial.start("track", slot="one", instance="one", sabotage=sabotage)


CONTROLS = {
    control.rule: control
    for control in (
        Control(
            "id-per-worker", _zombie, "takeovers", {"partitions": 1, "transaction_timeout": 60}
        ),
        Control("deliveries-unseen", _refused, "refusals"),
        Control("store-first", _killed, "kills"),
        # The deadline comes before aiokafka would ask again by itself.
        Control(
            "producer-reused", _held, "held commits", {"partitions": 1, "transaction_timeout": 5}
        ),
        Control("losses-unseen", _late, "late commits", {"partitions": 1}),
        Control("records-spoiled", spoiled, "rounds", brokers=3, posts=40, named=NAMED),
    )
}

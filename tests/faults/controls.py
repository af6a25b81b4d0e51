"""Negative controls: a rule is broken on purpose, and the suite must notice.

Each is a scenario that passes with the product as it is, and must fail with the sabotage of its
name. If it passes with the sabotage, the suite misses the broken rule.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from tests.faults.altered_records import EXPECTED, alter_records
from tests.faults.proxy import END_TXN
from tests.faults.scenario import Scenario
from tests.faults.scenarios.network import late_once
from tests.faults.scenarios.zombies import wake_zombie
from tests.faults.trial import Trial


class _Act(Protocol):
    async def __call__(self, trial: Trial, sabotage: str | None) -> None: ...


@dataclass(frozen=True)
class Control:
    """A rule of tests.faults.sabotage, and the scenario that must fail when it is broken.

    `named`: the differences that must all be reported; if empty, any lost or doubled record.
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
    """Stop a tracker before a transaction, let another take over, let the first continue.

    It is not stopped inside a transaction, because the other would wait for the open transaction.
    """
    await trial.start("normalise")
    failpoint = f"track.before_begin=stop@{trial.random.randrange(1, 20)}"
    zombie = await trial.start("track", ready=False, failpoint=failpoint, sabotage=sabotage)
    assert await zombie.stopped(), zombie.tail()
    successor = await trial.start("track", sabotage=sabotage)
    await wake_zombie(trial, zombie, successor)


async def _refused(trial: Trial, sabotage: str | None) -> None:
    """Let Kafka refuse batches of statuses for a while."""
    await trial.start("normalise")
    worker = await trial.start("track", sabotage=sabotage)
    await trial.published(100)
    topic = trial.settings.topics.statuses
    await trial.configure(topic, "max.message.bytes", "400")
    worker.may_refuse = True
    before = await trial.taken("track")

    async def has_failed() -> bool:
        return not worker.running or await trial.taken("track") > before + 200

    await trial.until(has_failed, "batches refused")
    trial.did["refusals"] += 1
    await trial.configure(topic, "max.message.bytes", "2097152")
    if not worker.running:
        assert worker.logged("as too large"), worker.tail()
        await trial.start("track", sabotage=sabotage)
    # Not trial.published: a producer with a gap in its sequence may never publish again.
    await trial.traffic(300)


async def _killed(trial: Trial, sabotage: str | None) -> None:
    """Kill a tracker before its commit, twice; it restarts with its store."""
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
    """Hold a commit until the tracker, past its deadline, has recovered."""
    await trial.start("normalise")
    proxy = trial.single.proxy
    worker = await trial.start("track", sabotage=sabotage, kafka=proxy.bootstrap)
    await trial.published(100)
    for _ in range(2):
        ready = worker.logged("ready, at offset")
        held = proxy.hold(END_TXN)
        await held.caught

        async def recovered(before: int = ready) -> bool:
            return worker.logged("ready, at offset") > before

        await trial.until(recovered, "the tracker recovered")
        held.release()
        trial.did["held commits"] += 1
        await trial.published(100)


async def _late(trial: Trial, sabotage: str | None) -> None:
    """Hold a commit that is sent again; the first request arrives in a later transaction."""
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
        # The deadline comes before aiokafka retries by itself.
        Control(
            "producer-reused", _held, "held commits", {"partitions": 1, "transaction_timeout": 5}
        ),
        Control("losses-unseen", _late, "late commits", {"partitions": 1}),
        Control("records-spoiled", alter_records, "rounds", brokers=3, posts=40, named=EXPECTED),
    )
}

"""Scenarios in which Kafka ends a transaction and never writes some of its markers.

Kafka loses markers of a partition that has no leader at that moment. Here a sabotaged tracker does
not register partitions with the transaction, and Kafka does not verify transactions, so any
combination of parts can be left open. Without verification Kafka also accepts late records of a
killed producer. With one partition none are on their way when the tracker is killed.
"""

from tests.faults.scenario import scenario
from tests.faults.trial import Trial

_VERIFY = "transaction.partition.verification.enable"
_PARTS = ("messages", "statuses", "events", "inbound", "offsets")
_POINTS = ("track.after_commit", "track.after_commit", "track.during_commit", "track.after_offsets")
_ROUNDS = 6


@scenario("markers-lost", {"kills": _ROUNDS, "transactions left open": 1}, partitions=1)
async def markers_lost(trial: Trial) -> None:
    """Kill a tracker around a commit, with markers lost in some or all parts.

    The next tracker, with or without its store, must end the hanging parts like the others.
    """
    await trial.start("normalise")
    await trial.configure(None, _VERIFY, "false")
    for number in range(_ROUNDS):
        lost = [part for part in _PARTS if trial.random.random() < 0.5] if number else _PARTS
        worker = await trial.start(
            "track",
            ready=False,
            slot=trial.random.choice(("one", "two", None)),
            instance="one",
            failpoint=f"{trial.random.choice(_POINTS)}=kill@{trial.random.randrange(5, 30)}",
            sabotage=f"markers-lost:{','.join(lost)}",
        )
        await worker.ended()
        trial.did["kills"] += 1
    successor = await trial.start("track", slot="one", instance="one")
    await trial.has_all(successor)
    left = "Kafka left a transaction"
    trial.did["transactions left open"] = sum(
        one.logged(left) for one in trial.workers if one.service == "track"
    )
    await trial.configure(None, _VERIFY, "true")

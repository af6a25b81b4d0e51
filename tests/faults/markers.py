"""Scenarios in which Kafka ends a transaction and never writes some of its markers.

As it does when a partition has no leader just then. Here it is not told of the partitions, and does
not verify, so each part of a transaction can be left open, in every combination. What does not
verify takes late records of the dead, too: with one partition none are under way at its death.
"""

from tests.faults.registry import scenario
from tests.faults.trial import Trial

_VERIFY = "transaction.partition.verification.enable"
_PARTS = ("messages", "statuses", "events", "inbound", "offsets")
_POINTS = ("track.after_commit", "track.after_commit", "track.during_commit", "track.after_offsets")
_ROUNDS = 6


@scenario("markers-lost", {"kills": _ROUNDS, "transactions left open": 1}, partitions=1)
async def markers_lost(trial: Trial) -> None:
    """A tracker dies around a commit whose markers are lost in part; once in all parts.

    The next comes to its store, or to none, and must end what is open as the rest of it was.
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
    heir = await trial.start("track", slot="one", instance="one")
    await trial.has_all(heir)
    left = "Kafka left a transaction"
    trial.did["transactions left open"] = sum(
        one.said(left) for one in trial.workers if one.service == "track"
    )
    await trial.configure(None, _VERIFY, "true")

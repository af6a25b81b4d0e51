"""Scenarios in which the broker is killed, restarted, stopped, or unavailable for minutes."""

from tests.faults.scenario import scenario
from tests.faults.trial import Trial

_MINUTES = 120


@scenario("broker-crash", {"broker kills": 2})
async def broker_crash(trial: Trial) -> None:
    """SIGKILL the broker under load, twice, and start it again."""
    await _fleet(trial)
    for down in (0, trial.random.uniform(1, 5)):
        await trial.single.crash(down=down)
        trial.did["broker kills"] += 1
        await trial.published(200)


@scenario("broker-restart", {"broker restarts": 2})
async def broker_restart(trial: Trial) -> None:
    """Restart the broker cleanly under load, twice."""
    await _fleet(trial)
    for down in (0, trial.random.uniform(1, 8)):
        await trial.single.bounce(down=down)
        trial.did["broker restarts"] += 1
        await trial.published(200)


@scenario("broker-pause", {"broker pauses": 2})
async def broker_pause(trial: Trial) -> None:
    """SIGSTOP the broker for 5 and for 20 s: it does not answer, and connections stay open."""
    await _fleet(trial)
    for seconds in (5, 20):
        trial.single.kafka.pause()
        await trial.elapse(seconds)
        trial.single.kafka.resume()
        trial.did["broker pauses"] += 1
        await trial.published(200)


@scenario("broker-away", {"long outages": 1}, long=True)
async def broker_away(trial: Trial) -> None:
    """Kill the broker for two minutes; a tracker and a normaliser are killed meanwhile."""
    await _fleet(trial)
    trial.single.kafka.kill()
    await trial.elapse(_MINUTES / 2)
    for service in ("normalise", "track"):
        [worker, _] = trial.running(service)
        worker.kill()
        await worker.ended()
    await trial.elapse(_MINUTES / 2)
    await trial.single.kafka.start()
    trial.did["long outages"] += 1
    await trial.published(200)


async def _fleet(trial: Trial) -> None:
    for _ in range(2):
        await trial.start("normalise")
        await trial.start("track")
    await trial.published(200)

"""A rolling upgrade, and a rollback: old and new code side by side in one namespace.

The old code is a checkout of another commit, which runs with the packages of this one.
"""

import asyncio
from pathlib import Path
from typing import Any

from tests import HOME
from tests.faults.http_services import in_time
from tests.faults.scenario import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Service, Worker

# Those that read come before those that write: new code reads what old code wrote.
_ORDER: tuple[Service, ...] = ("track", "normalise", "ingest")
_EACH = 2
_POSTS = 60

old_commit = ""
"""The commit of the old code; empty: the newest release, or the commit before this one."""


@scenario("upgrade", {"upgraded": 6, "rolled back": 6}, posts=_POSTS, long=True)
async def upgrade(trial: Trial) -> None:
    """One process after the other goes from old code to new, and back (`--old COMMIT`).

    Two ingests, two normalisers and two trackers run during the posts. Ingest is asked to stop, and
    started on the same port; normalisers leave the group; trackers keep their id and their store.
    """
    old = await _checkout(trial.home / "old")
    running = [await _start(trial, service, n, old) for service in _ORDER for n in range(_EACH)]
    for service in ("normalise", "track"):
        await trial.shared(service)
    await in_time(trial)
    for number, worker in enumerate(running):
        running[number] = await _replace(trial, worker, number % _EACH, None)
        trial.did["upgraded"] += 1
    await in_time(trial)
    for number, worker in reversed(list(enumerate(running))):
        running[number] = await _replace(trial, worker, number % _EACH, old)
        trial.did["rolled back"] += 1
    await in_time(trial)


async def _replace(trial: Trial, worker: Worker, number: int, code: Path | None) -> Worker:
    """Stop a worker and start its successor; wait until it works, and statuses come."""
    await worker.stop()
    successor = await _start(trial, worker.service, number, code, port=_port(worker))
    if worker.service != "ingest":
        await trial.shared(worker.service)
    await trial.published(_POSTS)
    return successor


async def _start(
    trial: Trial, service: Service, number: int, code: Path | None, port: int | None = None
) -> Worker:
    name = f"{service}-{number}"
    if service == "track":
        return await trial.start(service, slot=name, instance=name, checkout=code)
    if service == "normalise":
        return await trial.start(service, checkout=code)
    spool = trial.home / f"spool-{number}"
    spool.mkdir(exist_ok=True)
    if spool not in trial.spools:
        trial.spools.append(spool)
    options: dict[str, Any] = {"spool": spool, "drain": 0, "ingest_metrics_port": 0, "port": port}
    worker = await trial.start(service, checkout=code, **options)
    if port is None:
        trial.http_load.add(worker.url)
    return worker


def _port(worker: Worker) -> int:
    return int(worker.url.rpartition(":")[2])


async def _checkout(folder: Path) -> Path:
    """Write the files of the old commit into a folder."""
    commit = old_commit or await _git("describe", "--tags", "--abbrev=0") or "HEAD~1"
    folder.mkdir()  # noqa: ASYNC240 - once
    archive = folder.parent / "old.tar"
    await _git("archive", "--output", str(archive), commit)
    unpacking = await asyncio.create_subprocess_exec("tar", "-xf", str(archive), "-C", str(folder))
    assert await unpacking.wait() == 0, f"there is no commit {commit}"
    return folder


async def _git(*arguments: str) -> str:
    """Return what git prints; empty if it fails."""
    done = await asyncio.create_subprocess_exec(
        *("git", "-C", str(HOME), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await done.communicate()
    return output.decode().strip() if done.returncode == 0 else ""

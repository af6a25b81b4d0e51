"""Scenarios in which a disk is full: the tracker's store, a spool, Kafka's own.

Each disk is a small file system in memory, mounted where only this program and its children see it.
"""

import asyncio
import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.fleet import in_time, ingest
from tests.faults.registry import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Worker

_MIB = 1024 * 1024
_STORE = "blockstore-lock"  # the word must not be taken for RocksDB's complaint about its lock
_FULL = "No space left"
_MISTAKEN = "is open in another process"
_SPOOL_LEFT = 300_000
_ENDED_SECONDS = 90
_FROZEN_SECONDS = 20
_OK = 200


@scenario("disks-store", {"full disks": 2}, long=True, group="disks", root=True)
async def store(trial: Trial) -> None:
    """Fill the disk of a tracker's store, while it is down and while it runs."""
    disk = mounted(trial.home / _STORE, 64 * _MIB)
    await trial.start("normalise")
    worker = await trial.start("track", slot=_STORE)
    await trial.published(300)
    await worker.stop()
    with _full(disk):
        worker = await trial.start("track", slot=_STORE, ready=False)
        worker.refuses = True
        await _says(trial, worker, _FULL)
        assert not worker.said(_MISTAKEN), worker.tail()
        trial.did["full disks"] += 1
    await worker.stop()
    worker = await trial.start("track", slot=_STORE)
    worker.refuses = True  # it may meet the full disk, and say so
    await trial.published(300)
    with _full(disk):
        await trial.traffic(1000)
        await worker.stop()
        assert not worker.said(_MISTAKEN), worker.tail()
        trial.did["full disks"] += 1
    await trial.start("track", slot=_STORE)
    await trial.published(300)


@scenario("disks-spool", {"refusals": 1}, long=True, group="disks", root=True, posts=60.0)
async def spool(trial: Trial) -> None:
    """Freeze Kafka until the disk of a spool is full: then 503, and nothing of before is lost."""
    disk = mounted(trial.home / "spool", 8 * _MIB)
    worker = await ingest(trial, spool=disk)
    await trial.start("normalise")
    await trial.start("track")
    await in_time(trial)
    with _full(disk, left=_SPOOL_LEFT):
        began = len(trial.posting.answers)
        trial.world.kafka.pause()
        try:
            await trial.until(lambda: _unready(worker), "an ingest that is unready")
            await trial.elapse(_FROZEN_SECONDS)
        finally:
            trial.world.kafka.resume()
        answers = [one.status for one in trial.posting.answers[began:]]
        trial.did["answers 200 meanwhile"] += answers.count(_OK)
        trial.did["refusals"] += len(answers) - answers.count(_OK)
        await in_time(trial)


@scenario(
    "disks-kafka", {"full disks": 1}, long=True, group="disks", root=True, posts=60.0, disk=256
)
async def kafka(trial: Trial) -> None:
    """Fill Kafka's disk: it ends; with room again it is started, and all goes on."""
    await ingest(trial, spool=trial.home / "spool")
    await trial.start("normalise")
    await trial.start("track")
    await in_time(trial)
    broker = trial.world.kafka
    with _full(trial.world.home / "kafka"):
        async with asyncio.timeout(_ENDED_SECONDS):
            await broker.died()
        trial.did["full disks"] += 1
        await trial.elapse(5)
    broker.kill()
    await broker.start()
    await in_time(trial)


def mounted(place: Path, size: int) -> Path:
    """Mount an empty file system of that size in bytes; it ends with the processes that see it."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    subprocess.run(command, check=True, timeout=10)
    return place


def unmount(home: Path) -> None:
    """Unmount the file systems under a directory, so that it can be removed."""
    places = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    for place in [one for one in places if one.startswith(f"{home}/")]:
        subprocess.run(["umount", "--lazy", place], check=True, timeout=10)


@contextmanager
def _full(disk: Path, *, left: int = 0) -> Iterator[None]:
    """Leave so many bytes of a disk meanwhile."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(64 * 1024))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error  # noqa: PT017 - no other is expected
        file.truncate(max(0, file.tell() - left))
    try:
        yield
    finally:
        filler.unlink()


async def _says(trial: Trial, worker: Worker, words: str) -> None:
    async def says() -> bool:
        return bool(worker.said(words)) or not worker.running

    await trial.until(says, f"{worker.name} saying {words!r}")
    assert worker.said(words), f"{worker.name} does not say {words!r}: {worker.tail()}"


async def _unready(worker: Worker) -> bool:
    return not await worker.ready()

"""Scenarios in which a disk is full: the tracker's store, a spool, Kafka's own.

Each disk is a small file system in memory, which only this program and its children see.
"""

import asyncio
import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.http_services import in_time, ingest
from tests.faults.scenario import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Worker

_MIB = 1024 * 1024
_STORE = (
    "blockstore-lock"  # contains "lock": it must not be mistaken for RocksDB's error about its lock
)
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
        worker.may_refuse = True
        await _logs(trial, worker, _FULL)
        assert not worker.logged(_MISTAKEN), worker.tail()
        trial.did["full disks"] += 1
    await worker.stop()
    worker = await trial.start("track", slot=_STORE)
    worker.may_refuse = True  # it may reach the full disk and report it
    await trial.published(300)
    with _full(disk):
        await trial.traffic(1000)
        await worker.stop()
        assert not worker.logged(_MISTAKEN), worker.tail()
        trial.did["full disks"] += 1
    await trial.start("track", slot=_STORE)
    await trial.published(300)


@scenario("disks-spool", {"refusals": 1}, long=True, group="disks", root=True, posts=60.0)
async def spool(trial: Trial) -> None:
    """Freeze Kafka until the disk of a spool is full: then 503, and no stored body is lost."""
    disk = mounted(trial.home / "spool", 8 * _MIB)
    worker = await ingest(trial, spool=disk)
    await trial.start("normalise")
    await trial.start("track")
    await in_time(trial)
    with _full(disk, left=_SPOOL_LEFT):
        began = len(trial.http_load.answers)
        trial.single.kafka.pause()
        try:
            await trial.until(lambda: _unready(worker), "an ingest that is unready")
            await trial.elapse(_FROZEN_SECONDS)
        finally:
            trial.single.kafka.resume()
        answers = [one.status for one in trial.http_load.answers[began:]]
        trial.did["answers 200 during the outage"] += answers.count(_OK)
        trial.did["refusals"] += len(answers) - answers.count(_OK)
        await in_time(trial)


@scenario(
    "disks-kafka", {"full disks": 1}, long=True, group="disks", root=True, posts=60.0, disk=256
)
async def kafka(trial: Trial) -> None:
    """Fill Kafka's disk until it ends; then free space, start it again, and continue."""
    await ingest(trial, spool=trial.home / "spool")
    await trial.start("normalise")
    await trial.start("track")
    await in_time(trial)
    broker = trial.single.kafka
    with _full(trial.single.home / "kafka"):
        async with asyncio.timeout(_ENDED_SECONDS):
            await broker.died()
        trial.did["full disks"] += 1
        await trial.elapse(5)
    broker.kill()
    await broker.start()
    await in_time(trial)


def mounted(path: Path, size: int) -> Path:
    """Mount an empty file system of `size` bytes; the kernel removes it with this process."""
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    subprocess.run(command, check=True, timeout=10)
    return path


def unmount(home: Path) -> None:
    """Unmount the file systems under a directory, so that it can be removed."""
    mounts = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    for path in [one for one in mounts if one.startswith(f"{home}/")]:
        subprocess.run(["umount", "--lazy", path], check=True, timeout=10)


@contextmanager
def _full(disk: Path, *, left: int = 0) -> Iterator[None]:
    """Fill a disk up to the last `left` bytes within the context."""
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


async def _logs(trial: Trial, worker: Worker, words: str) -> None:
    async def has_logged() -> bool:
        return bool(worker.logged(words)) or not worker.running

    await trial.until(has_logged, f"{worker.name} logging {words!r}")
    assert worker.logged(words), f"{worker.name} does not log {words!r}: {worker.tail()}"


async def _unready(worker: Worker) -> bool:
    return not await worker.ready()

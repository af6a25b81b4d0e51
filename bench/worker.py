"""The measured tracker: in this process, or the real command as a child process."""

import asyncio
import gc
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import which
from typing import NamedTuple, Self

import bluetick
from bench.polling import POLL_SECONDS, until
from cli.problem_sentences import CommandProblem
from cli.simulator import http_client
from processors.runtime.group_worker import GroupWorker
from processors.tracking.tracker import Tracker
from schemas.processor_list import TRACK
from service import child_processes
from service.settings import Settings

_OK = 200
_STOP_SECONDS = 60
_GIVEN = (
    "kafka",
    "namespace",
    "partitions",
    "data",
    "track_health_port",
    "session_timeout",
    "timer_grace",
    "instance",
)
_ASSIGNED = re.compile(r"assigned partitions \[([\d, ]*)\]")


@asynccontextmanager
async def tracker(settings: Settings) -> AsyncIterator[GroupWorker]:
    """Run a tracker in this process; its exception is raised here."""
    stop = asyncio.Event()
    one = GroupWorker(TRACK, settings, Tracker)
    # As `processors.runtime.run_processor` does, which is not run here.
    gc.collect()
    gc.freeze()
    running = asyncio.create_task(one.run(stop))
    try:
        yield one
    finally:
        stop.set()
        await running
        gc.unfreeze()


async def ready(one: GroupWorker, seconds: float) -> float:
    """Wait until a tracker in this process has all partitions ready; return the seconds."""
    return await until(lambda: not one.problems(), seconds)


class Memory(NamedTuple):
    """The present and peak resident memory of a process, in MB of 10**6 bytes."""

    now: float
    peak: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """Read it from the kernel (Linux)."""
        text = Path(f"/proc/{pid}/status").read_text()
        kilobytes = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text))
        return cls(*(int(kilobytes[name]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM")))


class Worker:
    """`bluetick track` as a child process, killed with this one; its log is in its data."""

    def __init__(self, settings: Settings, name: str = "worker") -> None:
        settings.data.mkdir(parents=True, exist_ok=True)
        self.log = settings.data / f"{name}.log"
        self.log.touch()
        self._begin = self.log.stat().st_size
        self._url = f"http://127.0.0.1:{settings.health_port('track')}"
        self._process = child_processes.spawn(list(_command(settings)), self.log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def assignments(self) -> list[list[int]]:
        """The group's assignments to this process so far, the newest last."""
        log = self.log.read_bytes()[self._begin :].decode(errors="replace")
        return [[int(n) for n in found.split(", ") if n] for found in _ASSIGNED.findall(log)]

    async def ready(self, seconds: float) -> float:
        """Wait until all its partitions are ready; return the seconds."""
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            while True:
                if await self._is_ready():
                    return time.monotonic() - began
                await asyncio.sleep(POLL_SECONDS)

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        text = (await http_client.get(self._url, "/metrics")).body.decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(name))
        return sum(float(value) for _, _, value in lines)

    def kill(self) -> None:
        """End it with SIGKILL."""
        child_processes.kill(self._process)

    async def stop(self) -> None:
        """Stop it with SIGTERM, with SIGKILL if that takes too long."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            await child_processes.end(self._process, _STOP_SECONDS)

    async def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            lines = self.log.read_text(errors="replace").splitlines()
            log = "\n  ".join(lines[-10:])
            raise CommandProblem(
                "bench_tracker_ended", "the tracker ended; its log ends with:\n  {log}", log=log
            )
        with suppress(*http_client.Broken):
            return (await http_client.get(self._url, "/health/ready")).status == _OK
        return False


@asynccontextmanager
async def worker(settings: Settings, name: str = "worker") -> AsyncIterator[Worker]:
    """Run the command within the context."""
    one = Worker(settings, name)
    try:
        yield one
    finally:
        await one.stop()


def _command(settings: Settings) -> Iterator[str]:
    """Yield the command line; env(1) sets the settings as environment variables."""
    env = which("env")
    if env is None:
        raise CommandProblem(
            "bench_needs_env", "the benchmarks that start processes need the command env"
        )
    yield env
    for name in _GIVEN:
        if (value := getattr(settings, name)) is not None:
            yield f"BLUETICK_{name.upper()}={value}"
    yield from (sys.executable, str(Path(bluetick.__file__).resolve()), "track")

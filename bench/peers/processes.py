"""The processes of a measured subject: start, CPU, end."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from bench.cpu import cpu_seconds
from cli.problem_sentences import CommandProblem
from service import child_processes

ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 15
_LINES = 10


Value = str | int | Path


class Program(NamedTuple):
    """A command, and its settings as environment variables."""

    command: Sequence[str]
    settings: Mapping[str, Value]


class Running:
    """The started processes of a subject."""

    def __init__(self, programs: Sequence[Program], directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._logs = [directory / f"{number}.log" for number in range(len(programs))]
        self._processes = [
            child_processes.spawn(_with_settings(program), log)
            for program, log in zip(programs, self._logs, strict=True)
        ]

    def cpu(self) -> float:
        """Return the CPU seconds of all processes so far; raise if one has ended."""
        for process, log in zip(self._processes, self._logs, strict=True):
            if process.poll() is not None:
                lines = "\n  ".join(log.read_text(errors="replace").splitlines()[-_LINES:])
                raise CommandProblem(
                    "bench_subject_ended",
                    "a measured process ended with exit code {code}; its log ends with:\n  {log}",
                    code=process.returncode,
                    log=lines,
                )
        return sum(cpu_seconds(process.pid) for process in self._processes)

    def each_cpu(self) -> list[float]:
        """Return the CPU seconds of each process so far."""
        return [cpu_seconds(process.pid) for process in self._processes]

    async def stop(self) -> None:
        """End all processes: SIGTERM, then SIGKILL after 15 s."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            await child_processes.end(process, _STOP_SECONDS)


@asynccontextmanager
async def running(programs: Sequence[Program], directory: Path) -> AsyncIterator[Running]:
    """Run the programs within the context."""
    one = Running(programs, directory)
    try:
        yield one
    finally:
        await one.stop()


def _with_settings(program: Program) -> list[str]:
    given = {"PYTHONPATH": ROOT, **program.settings}
    return ["/usr/bin/env", *(f"{name}={value}" for name, value in given.items()), *program.command]

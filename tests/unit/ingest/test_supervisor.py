"""When a worker that ended is started again, and how what it says is read."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from ingest import supervisor
from ingest.supervisor import _Supervisor, _Worker, pause
from service.errors import Problem
from service.problem_pipe import ProblemPipe
from service.signals import Stop
from tests.broker.running_ingest import until


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.5), (1, 1), (2, 2), (5, 16), (6, 30), (10_000, 30)]
)
def test_the_pause_grows_and_is_bounded(failures: int, seconds: float) -> None:
    """A worker that served begins again at once, one that never did less and less often."""
    assert pause(failures) == seconds


class _Gone:
    def write(self, _: str) -> int:
        raise BrokenPipeError


async def test_a_worker_can_speak_though_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds is taken from it while our own standard error is closed."""
    monkeypatch.setattr(sys, "stderr", _Gone())
    speak = "import sys; print('a line', file=sys.stderr) or sys.stderr.write('x\\n' * 200_000)"
    worker = _Worker(
        await asyncio.create_subprocess_exec(sys.executable, "-c", speak, stdout=PIPE, stderr=PIPE),
        ProblemPipe(),
    )
    async with asyncio.timeout(30):
        await worker.wait()
    assert worker.end_reason().endswith("code 0")


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def test_workers_that_cannot_be_started_end_the_command() -> None:
    """A sentence says why, and nobody listens any more."""
    listener = _listener()
    with pytest.raises(Problem, match=r"a worker failed: it cannot be started \(.*No such file"):
        await _Supervisor(2, lambda _: ["/there/is/no/such/program"], listener, 1.0).run()
    assert listener.fileno() == -1


async def test_a_worker_that_cannot_be_started_again_is_tried_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once one has served, it is told each time, and the supervisor goes on."""
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE", 0.01)
    stop = Stop()
    monkeypatch.setattr(supervisor, "stop_on_signals", lambda: stop)
    program, away = tmp_path / "worker", tmp_path / "away"
    program.write_text(f"#!/bin/sh\necho '{{}}'\nmv {program} {away}\n")
    program.chmod(0o700)

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    async def told(text: str) -> bool:
        return text in caplog.text

    running = asyncio.create_task(_Supervisor(1, lambda _: [str(program)], _listener(), 1.0).run())
    await until(lambda: told("worker 1 ended: it cannot be started ("))
    caplog.clear()
    away.rename(program)
    await until(lambda: told("code 0; another one starts in"))
    stop.set()
    await running


async def test_a_worker_that_reports_nothing_any_more_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs is named; before the first report of any, none serves."""
    stop = Stop()
    monkeypatch.setattr(supervisor, "stop_on_signals", lambda: stop)
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", 0.2)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    program = tmp_path / "worker"
    program.write_text("#!/bin/sh\necho '{}'\nexec sleep 60\n")
    program.chmod(0o700)
    several = _Supervisor(1, lambda _: [str(program)], _listener(), 1.0)
    assert several.health().problems == ("no worker serves yet",)
    running = asyncio.create_task(several.run())

    async def stuck() -> bool:
        return any("is stuck: no report" in problem for problem in several.health().problems)

    await until(stuck)
    stop.set()
    await running
    assert several.health().problems == ("ingest is shutting down",)

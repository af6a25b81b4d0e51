"""The restart of workers that ended, and the reading of their output."""

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
    """A worker that served restarts soon; one that never served restarts ever less often."""
    assert pause(failures) == seconds


class _Gone:
    def write(self, _: str) -> int:
        raise BrokenPipeError


async def test_a_worker_can_log_without_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor reads more than a pipe holds while its own standard error is closed."""
    monkeypatch.setattr(sys, "stderr", _Gone())
    program = "import sys; print('a line', file=sys.stderr) or sys.stderr.write('x\\n' * 200_000)"
    worker = _Worker(
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=PIPE, stderr=PIPE
        ),
        ProblemPipe(),
    )
    async with asyncio.timeout(30):
        await worker.wait()
    assert worker.end_reason().endswith("code 0")


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def test_workers_that_cannot_be_started_end_the_command() -> None:
    """The problem gives the reason, and the listening socket is closed."""
    listener = _listener()
    with pytest.raises(Problem, match=r"a worker failed: it cannot be started \(.*No such file"):
        await _Supervisor(2, lambda _: ["/there/is/no/such/program"], listener, 1.0).run()
    assert listener.fileno() == -1


async def test_a_failing_restart_is_repeated_until_it_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a worker has served, each failed restart is logged and the supervisor continues."""
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE", 0.01)
    stop = Stop()
    monkeypatch.setattr(supervisor, "stop_on_signals", lambda: stop)
    program, away = tmp_path / "worker", tmp_path / "away"
    program.write_text(f"#!/bin/sh\necho '{{}}'\nmv {program} {away}\n")
    program.chmod(0o700)

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    async def logged(text: str) -> bool:
        return text in caplog.text

    running = asyncio.create_task(_Supervisor(1, lambda _: [str(program)], _listener(), 1.0).run())
    await until(lambda: logged("worker 1 ended: it cannot be started ("))
    caplog.clear()
    away.rename(program)
    await until(lambda: logged("code 0; another one starts in"))
    stop.set()
    await running


async def test_a_worker_that_stops_reporting_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hanging worker is named; before the first report, no worker serves."""
    stop = Stop()
    monkeypatch.setattr(supervisor, "stop_on_signals", lambda: stop)
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", 0.2)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    program = tmp_path / "worker"
    program.write_text("#!/bin/sh\necho '{}'\nexec sleep 60\n")
    program.chmod(0o700)
    several = _Supervisor(1, lambda _: [str(program)], _listener(), 1.0)
    assert several.health().problems == ("no worker serves yet",)
    assert not several.started()
    running = asyncio.create_task(several.run())

    async def stuck() -> bool:
        return any("is stuck: no report" in problem for problem in several.health().problems)

    await until(stuck)
    assert several.started()
    stop.set()
    await running
    assert several.started()
    assert several.health().problems == ("ingest is shutting down",)

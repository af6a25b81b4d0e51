"""When a worker that ended is started again, and how what it says is read."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from ingest.workers import _Worker, lines, pause


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.5), (1, 1), (2, 2), (5, 16), (6, 30), (10_000, 30)]
)
def test_the_pause_grows_and_is_bounded(failures: int, seconds: float) -> None:
    """A worker that served begins again at once, one that never did less and less often."""
    assert pause(failures) == seconds


async def test_a_line_that_is_too_long_does_not_end_the_reading() -> None:
    """It is left out, and the next one is read."""
    stream = asyncio.StreamReader(limit=10)
    stream.feed_data(b"short\n" + b"x" * 50 + b"\nnext\n")
    stream.feed_eof()
    assert [line async for line in lines(stream)] == [b"short\n", b"next\n"]


class _Gone:
    def write(self, _: str) -> int:
        raise BrokenPipeError


async def test_a_worker_can_speak_though_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds is taken from it while our own standard error is closed."""
    monkeypatch.setattr(sys, "stderr", _Gone())
    speak = "import sys; print('a line', file=sys.stderr) or sys.stderr.write('x\\n' * 200_000)"
    worker = _Worker(
        await asyncio.create_subprocess_exec(sys.executable, "-c", speak, stdout=PIPE, stderr=PIPE)
    )
    async with asyncio.timeout(30):
        await worker.ended()
    assert worker.why().endswith("code 0")

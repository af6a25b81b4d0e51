"""When the publisher sends a batch that waits."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from ingest.publishing.publisher import Publisher
from service.settings import Settings

_WAIT_SECONDS = 10.0


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("rests", [(0.02, 0.0001), (0.0001, 0.02), (0.0002, 0.0001)])
def test_a_rest_ends_at_the_earliest_time(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    rests: tuple[float, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if that is below a millisecond, for which uvloop has another kind of handle."""
    flushed = asyncio.Event()
    monkeypatch.setattr(Publisher, "_flush", lambda _: flushed.set())

    async def wait() -> None:
        publisher = Publisher(Settings())
        publisher._loop = asyncio.get_running_loop()
        for seconds in rests:
            publisher._flush_at(publisher._loop.time() + seconds)
        async with asyncio.timeout(_WAIT_SECONDS):
            await flushed.wait()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(wait())

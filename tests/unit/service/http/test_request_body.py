"""Reading bodies: bounded in size, in the size of all together, and in time."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.types import Message, Receive

from service.http.request_body import Bodies, Disconnected, RefusedBody

_MOST = 4
_MOST_HELD = 6


def _sent(*pieces: bytes, ends: bool = True) -> Receive:
    """Return a `receive` of these pieces, after which the sender is silent unless it `ends`."""
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    if ends:
        messages[-1]["more_body"] = False
    messages.reverse()

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return receive


async def _begun(bodies: Bodies, *pieces: bytes) -> "asyncio.Task[bytes]":
    """Return the reading of a body whose sender is silent after these pieces."""
    reading = asyncio.create_task(bodies.read(_sent(*pieces, ends=False)))
    await asyncio.sleep(0)  # it reads all there is without a pause
    assert bodies.held == sum(map(len, pieces))
    return reading


@pytest.fixture
def bodies() -> Bodies:
    return Bodies(_MOST, _MOST_HELD, 60.0)


@pytest.mark.parametrize("pieces", [[b""], [b"abcd"], [b"ab", b"cd"], [b"", b"abc", b"d"]])
async def test_a_whole_body_is_returned(bodies: Bodies, pieces: Sequence[bytes]) -> None:
    assert await bodies.read(_sent(*pieces)) == b"".join(pieces)
    assert bodies.held == 0


@pytest.mark.parametrize("pieces", [[b"abcde"], [b"abc", b"de"]])
async def test_a_larger_body_is_refused(bodies: Bodies, pieces: Sequence[bytes]) -> None:
    with pytest.raises(RefusedBody, match="too-large"):
        await bodies.read(_sent(*pieces))
    assert bodies.held == 0


async def test_all_bodies_together_are_bounded(bodies: Bodies) -> None:
    """Bodies that are not complete count; once they end, there is room again."""
    waiting = await _begun(bodies, b"abcd")
    with pytest.raises(RefusedBody, match="overloaded"):
        await bodies.read(_sent(b"ab", b"c"))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await bodies.read(_sent(b"ab", b"c")) == b"abc"


async def test_a_silent_sender_is_refused() -> None:
    with pytest.raises(RefusedBody, match="too-slow"):
        await Bodies(_MOST, _MOST_HELD, 0.0).read(_sent(b"a", ends=False))


async def test_a_hurry_shortens_the_time_of_a_body(bodies: Bodies) -> None:
    waiting = await _begun(bodies, b"a")
    bodies.hurry(0.0)
    with pytest.raises(RefusedBody, match="too-slow"):
        await asyncio.wait_for(waiting, 30)


async def test_a_sender_that_disconnects_is_not_refused(bodies: Bodies) -> None:
    """Nobody reads an answer."""
    left: list[Message] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"a", "more_body": True},
    ]

    async def receive() -> Message:
        return left.pop()

    with pytest.raises(Disconnected):
        await bodies.read(receive)
    assert bodies.held == 0

"""One client's connection through the proxy to the broker, and the faults of its traffic."""

import asyncio
import contextlib
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Coroutine
from typing import Any

_REQUEST = struct.Struct(">ihhi")  # size, api key, api version, correlation id
_ANSWER = struct.Struct(">ii")  # size, correlation id
_SIZE = struct.Struct(">i")
_FRAME_BYTES = 100 << 20  # Kafka's own limit
_WAITING_ANSWERS = 64  # of one connection, read and not yet passed on
_PIECE_BYTES = 1 << 16
_PIECE_SECONDS = 0.05  # how long a throttled connection may take to notice a change
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with which closing sends RST
_ORDERLY = struct.pack("ii", 0, 0)  # and with which it sends FIN


class HeldFrame:
    """A request or an answer that the proxy holds until it is released or dropped.

    Later frames of its connection wait as well. One that is released early is not held at all.
    """

    def __init__(self, api_key: int) -> None:
        self.api_key = api_key
        self._caught = asyncio.Event()
        self._decided = asyncio.Event()
        self._dropped = False

    @property
    def caught(self) -> Coroutine[Any, Any, Any]:
        """Await this to know that it is held."""
        return self._caught.wait()

    def release(self) -> None:
        """Pass it on. A request reaches the broker even if its client has disconnected."""
        self._decided.set()

    def drop(self) -> None:
        """Discard it, and reset its connection. After release() this does nothing."""
        self._dropped = self._dropped or not self._decided.is_set()
        self._decided.set()

    async def passes(self) -> bool:
        """Wait for the decision; for the proxy."""
        self._caught.set()
        await self._decided.wait()
        return not self._dropped


class Faults:
    """The faults that apply at present."""

    def __init__(self) -> None:
        self.requests: list[HeldFrame] = []
        self.answers: list[HeldFrame] = []
        self.rate: float | None = None
        self.thawed = asyncio.Event()
        self.thawed.set()
        self._delay = 0.0
        self._delay_changed = asyncio.Event()

    def set_delay(self, seconds: float) -> None:
        self._delay = seconds
        self._delay_changed.set()
        self._delay_changed = asyncio.Event()

    async def due(self, arrived: float) -> None:
        """Wait until a frame that arrived then may be passed on."""
        while (left := arrived + self._delay - _now()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._delay_changed.wait(), left)

    async def receive(self, reader: StreamReader) -> bytes:
        """Read one whole frame, including its size; while frozen, begin none."""
        await self.thawed.wait()
        head = await reader.readexactly(_SIZE.size)
        (size,) = _SIZE.unpack(head)
        if not _SIZE.size <= size <= _FRAME_BYTES:
            raise ConnectionError(f"{size} bytes is no valid size of a Kafka frame.")
        return head + await reader.readexactly(size)

    async def send(self, writer: StreamWriter, frame: bytes) -> None:
        """Write in pieces at the allowed rate; each is handed to the system before the next."""
        left = memoryview(frame)
        while left:
            await self.thawed.wait()
            if writer.is_closing():
                raise ConnectionResetError
            rate = self.rate
            size = max(1, int(rate * _PIECE_SECONDS)) if rate else _PIECE_BYTES
            piece, left = left[:size], left[size:]
            writer.write(piece)
            await writer.drain()
            if rate:
                await asyncio.sleep(len(piece) / rate)


class ProxiedConnection:
    """A client's connection, and the connection to the broker that serves it."""

    def __init__(self, faults: Faults, client: socket.socket, upstream: tuple[str, int]) -> None:
        self._faults = faults
        self._client = client
        self._writers: list[StreamWriter] = []
        self._arrived: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(_WAITING_ANSWERS)
        self._held_answers: dict[int, HeldFrame] = {}
        self._holds_request = False
        _set_linger(client, _RESET)
        self.task = asyncio.create_task(self._run(upstream))
        self.task.add_done_callback(lambda _: client.close())  # the task may never have begun

    def cut(self) -> None:
        """Reset both sides; with a held request the broker's side stays open for it."""
        if self._holds_request:
            self._writers[0].transport.abort()
        else:
            self.end()

    def end(self) -> None:
        """Reset both sides, even with a held frame."""
        self._abort()
        self.task.cancel()

    async def _run(self, upstream: tuple[str, int]) -> None:
        try:
            from_client, to_client = await asyncio.open_connection(sock=self._client)
            self._own(to_client)
            await self._faults.thawed.wait()
            try:
                from_broker, to_broker = await asyncio.open_connection(*upstream)
            except OSError:
                return  # no broker listens
            self._own(to_broker)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(from_client, to_broker))
                group.create_task(self._receive(from_broker))
                await self._deliver(to_client)
                self._abort()
        finally:
            self._abort()
            for writer in self._writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def _own(self, writer: StreamWriter) -> None:
        _set_linger(writer.get_extra_info("socket"), _RESET)
        writer.transport.set_write_buffer_limits(high=0)  # drain() waits until all is out
        self._writers.append(writer)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _requests(self, from_client: StreamReader, to_broker: StreamWriter) -> None:
        """Pass on the client's requests, then its end, which Kafka answers by closing.

        Kafka reads all requests before an end. A reset would lose them, so it is passed on as an
        end too.
        """
        with contextlib.suppress(OSError, EOFError):
            while True:
                frame = await self._faults.receive(from_client)
                if not await self._admits(frame):
                    return self.end()
                await self._faults.send(to_broker, frame)
        await self._faults.thawed.wait()
        with contextlib.suppress(OSError):
            to_broker.write_eof()
        return None

    async def _admits(self, frame: bytes) -> bool:
        _, key, _, correlation = _REQUEST.unpack_from(frame)
        if answer := _pop(self._faults.answers, key):
            self._held_answers[correlation] = answer
        if not (request := _pop(self._faults.requests, key)):
            return True
        self._holds_request = True
        passes = await request.passes()
        self._holds_request = False
        return passes

    async def _receive(self, from_broker: StreamReader) -> None:
        """Note when each answer arrived, so that all of them are delayed at the same time."""
        with contextlib.suppress(OSError, EOFError):
            while True:
                frame = await self._faults.receive(from_broker)
                await self._arrived.put((_now(), frame))
        await self._arrived.put(None)

    async def _deliver(self, to_client: StreamWriter) -> None:
        """Pass on the broker's answers until it closes; ignore a client that has disconnected."""
        while item := await self._arrived.get():
            arrived, frame = item
            await self._faults.due(arrived)
            _, correlation = _ANSWER.unpack_from(frame)
            held = self._held_answers.pop(correlation, None)
            if held and not await held.passes():
                return self.end()
            with contextlib.suppress(OSError):
                await self._faults.send(to_client, frame)
        await self._faults.thawed.wait()
        _set_linger(self._client, _ORDERLY)
        return None


def _set_linger(side: socket.socket, linger: bytes) -> None:
    with contextlib.suppress(OSError):  # it is closed
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pop(holds: list[HeldFrame], api_key: int) -> HeldFrame | None:
    """Remove and return the first of that kind; None if there is none."""
    for held in holds:
        if held.api_key == api_key:
            holds.remove(held)
            return held
    return None

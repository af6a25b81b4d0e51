"""One port for two processes: an inherited socket or SO_REUSEPORT. `python -m bench.listening`.

Each connection is new and sends one request. Prints which process answered, and the errors, while
both run and while one of them ends. The decision is docs/decisions/0011-balancer.md.
"""

# ruff: noqa: T201 - figures are for reading

import asyncio
import os
import signal
import socket
import time
from collections import Counter
from typing import cast

import uvloop

_SECONDS = 2.0
_WORK_SECONDS = 2e-4  # of CPU, for each answer
_SENDERS = (4, 64, 256)


class _Answer(asyncio.Protocol):
    """Answers with the name of its process, after some work."""

    name = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, _: bytes) -> None:
        until = time.perf_counter() + _WORK_SECONDS
        while time.perf_counter() < until:
            pass
        self._transport.write(self.name)
        self._transport.close()


async def _serve(listener: socket.socket, name: bytes, seconds: float) -> None:
    protocol = type("Named", (_Answer,), {"name": name})
    server = await asyncio.get_running_loop().create_server(protocol, sock=listener)
    await asyncio.sleep(seconds)
    server.close()
    await asyncio.sleep(_SECONDS / 4)


async def _ask(port: int, senders: int) -> Counter[str]:
    answers: Counter[str] = Counter()
    until = time.perf_counter() + _SECONDS

    async def one() -> None:
        while time.perf_counter() < until:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"?")
                answers[(await reader.read()).decode() or "nothing"] += 1
                writer.close()
            except OSError as error:
                answers[type(error).__name__] += 1

    await asyncio.gather(*(one() for _ in range(senders)))
    return answers


def _listeners(*, reuse: bool) -> list[socket.socket]:
    first = socket.create_server(("127.0.0.1", 0), backlog=2048, reuse_port=reuse)
    if not reuse:
        return [first, first]
    return [first, socket.create_server(first.getsockname(), backlog=2048, reuse_port=True)]


def _measure(*, reuse: bool, senders: int, ends: bool) -> Counter[str]:
    listeners = _listeners(reuse=reuse)
    port = listeners[0].getsockname()[1]
    processes = []
    for number, listener in enumerate(listeners):
        process = os.fork()
        if process == 0:
            if reuse:
                listeners[1 - number].close()
            seconds = _SECONDS / 2 if ends and number == 0 else 60
            uvloop.run(_serve(listener, b"%d" % number, seconds))
            os._exit(0)
        processes.append(process)
    if reuse:  # the queue of a process must end with it
        for listener in listeners:
            listener.close()
    try:
        return uvloop.run(_ask(port, senders))
    finally:
        for process in processes:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        for listener in listeners:
            listener.close()


if __name__ == "__main__":
    for reuse in (False, True):
        for ends in (False, True):
            for senders in _SENDERS:
                answers = _measure(reuse=reuse, senders=senders, ends=ends)
                how = "SO_REUSEPORT" if reuse else "inherited"
                print(how, "one ends" if ends else "both run", senders, dict(answers))

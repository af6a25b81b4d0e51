"""A TCP proxy between Kafka clients and one broker, with faults of networks."""

import asyncio
import socket
from types import TracebackType
from typing import Self

from deploy.local_kafka.broker import HOST
from tests.faults.proxied_connection import Faults, HeldFrame, ProxiedConnection

END_TXN = 26  # an api key


class Proxy:
    """Listens on loopback for a broker: `async with Proxy(HOST, kafka.proxied_port) as p:`.

    Every fault can be switched at any time; it applies to present and future connections.
    """

    def __init__(self, upstream_host: str, upstream_port: int, port: int = 0) -> None:
        self._upstream = upstream_host, upstream_port
        self._faults = Faults()
        self._connections: dict[asyncio.Task[None], ProxiedConnection] = {}
        self._reserved: socket.socket | None = None
        self._listener: socket.socket | None = None
        self.port = port

    @property
    def bootstrap(self) -> str:
        """The address for clients: "127.0.0.1:<port>". The port is known once entered."""
        return f"{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        # No other process gets the port while the proxy refuses: it stays bound without listening.
        self._reserved = _bound(self.port)
        self.port = self._reserved.getsockname()[1]
        self.accept()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()
        if self._reserved:
            self._reserved.close()
        for connection in self._connections.values():
            connection.end()
        ended = await asyncio.gather(*self._connections, return_exceptions=True)
        for failure in ended:
            if isinstance(failure, Exception):  # and no CancelledError
                raise failure

    def cut(self) -> None:
        """Reset every connection; new ones are accepted. A held request stays held."""
        for connection in self._connections.values():
            connection.cut()

    def refuse(self) -> None:
        """Cut every connection and refuse new ones until accept()."""
        if self._listener:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        self.cut()

    def accept(self) -> None:
        """Accept connections (again)."""
        if not self._listener:
            self._listener = _bound(self.port)
            self._listener.listen()
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def freeze(self) -> None:
        """Pass nothing, not even an end; connections stay open, and new ones get no answer."""
        self._faults.thawed.clear()

    def thaw(self) -> None:
        """Continue after freeze()."""
        self._faults.thawed.set()

    def delay(self, seconds: float) -> None:
        """Delay every answer by `seconds`, in order; 0 for no delay."""
        self._faults.set_delay(seconds)

    def throttle(self, bytes_per_second: float | None) -> None:
        """Limit each direction of each connection; None for no limit."""
        self._faults.rate = bytes_per_second

    def hold(self, api_key: int) -> HeldFrame:
        """Hold the next request of this kind, and the later ones of its connection."""
        return _put(self._faults.requests, api_key)

    def hold_response(self, api_key: int) -> HeldFrame:
        """Let the next request of this kind pass; hold its answer, and the answers after it."""
        return _put(self._faults.answers, api_key)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # it has disconnected already
        client.settimeout(0)
        connection = ProxiedConnection(self._faults, client, self._upstream)
        self._connections[connection.task] = connection
        connection.task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or not task.exception():  # failures are raised at the end
            del self._connections[task]


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.settimeout(0)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound


def _put(holds: list[HeldFrame], api_key: int) -> HeldFrame:
    holds.append(held := HeldFrame(api_key))
    return held

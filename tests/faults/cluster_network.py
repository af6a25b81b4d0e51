"""The network between three brokers and their clients, in which a broker can be unplugged.

As root each broker has a network namespace, joined by a bridge, and its cable is a pair of virtual
interfaces. Without root each broker has a proxy in front of it.
"""

import asyncio
import ctypes
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from deploy.local_kafka.broker import HOST, LocalKafka, free_port
from service.child_processes import dying_with_parent
from tests.faults.proxy import Proxy

NUMBERS = (1, 2, 3)

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000  # <sched.h>
_NETWORK = "10.77.0"
_BRIDGE = "brokers"
_LOOK_SECONDS = 0.02
_NAMESPACE_SECONDS = 10


class ClusterNetwork(Protocol):
    """Where each broker listens, and its cable to the others."""

    def host(self, number: int) -> str: ...
    def proxied(self, number: int) -> int: ...
    def command(self, number: int) -> list[str]: ...
    async def connect(self, broker: LocalKafka, number: int) -> None: ...
    def unplug(self, broker: LocalKafka, number: int) -> None: ...
    def plug(self, broker: LocalKafka, number: int) -> None: ...


def can_isolate() -> bool:
    """Whether this process may create namespaces."""
    return sys.platform == "linux" and os.geteuid() == 0


def isolate(*, network: bool) -> None:
    """Move this process to namespaces of its own, of mounts and, if asked, of the network.

    Call it before any thread starts. The kernel removes a namespace, with its mounts and
    interfaces, when its last process ends, so no cleanup is needed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | (_CLONE_NEWNET if network else 0)):
        raise OSError(ctypes.get_errno(), "cannot create a namespace")
    _run("mount", "--make-rprivate", "/")
    if network:
        _ip("link", "set", "lo", "up")


class Namespaces:
    """A network namespace for each broker; this process must be isolated."""

    def __init__(self, holders: dict[int, int]) -> None:
        """`holders`: the pid of the process that keeps each broker's namespace."""
        self._holders = holders

    def host(self, number: int) -> str:
        return f"{_NETWORK}.{10 + number}"

    def proxied(self, _: int) -> int:
        return 0

    def command(self, number: int) -> list[str]:
        return _inside(self._holders[number])

    async def connect(self, broker: LocalKafka, number: int) -> None:
        """Do nothing: clients reach the broker directly."""

    def unplug(self, _: LocalKafka, number: int) -> None:
        """Unplug: packets are lost both ways, and no connection is reset."""
        _ip("link", "set", _cable(number), "down")

    def plug(self, _: LocalKafka, number: int) -> None:
        _ip("link", "set", _cable(number), "up")


class Proxies:
    """A proxy in front of each broker; the brokers reach each other directly."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._ports = {number: free_port(0) for number in NUMBERS}
        self._proxies: dict[int, Proxy] = {}

    def host(self, _: int) -> str:
        return HOST

    def proxied(self, number: int) -> int:
        return self._ports[number]

    def command(self, _: int) -> list[str]:
        return []

    async def connect(self, broker: LocalKafka, number: int) -> None:
        if number not in self._proxies:
            proxy = Proxy(HOST, broker.proxied_port, self._ports[number])
            self._proxies[number] = await self._stack.enter_async_context(proxy)

    def unplug(self, broker: LocalKafka, number: int) -> None:
        """Pass nothing to clients, and stop the broker, so that the others lose it as well."""
        self._proxies[number].freeze()
        broker.pause()

    def plug(self, broker: LocalKafka, number: int) -> None:
        broker.resume()
        self._proxies[number].cut()
        self._proxies[number].thaw()


@asynccontextmanager
async def cluster_network(*, namespaces: bool) -> AsyncIterator[ClusterNetwork]:
    """Create the network; it ends with this context, or with this process."""
    async with AsyncExitStack() as stack:
        if not namespaces:
            yield Proxies(stack)
            return
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{_NETWORK}.1/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")
        holders = {number: await _namespace(stack, number) for number in NUMBERS}
        try:
            yield Namespaces(holders)
        finally:
            _ip("link", "del", _BRIDGE)


async def _namespace(stack: AsyncExitStack, number: int) -> int:
    """Create a broker's namespace and its cable; return the pid that keeps it."""
    command = dying_with_parent(["/usr/bin/env", "unshare", "--net", "sleep", "infinity"])
    holder = await asyncio.create_subprocess_exec(*command, start_new_session=True)

    async def end() -> None:
        holder.kill()
        await holder.wait()

    stack.push_async_callback(end)
    async with asyncio.timeout(_NAMESPACE_SECONDS):
        while _id(holder.pid) == _id(os.getpid()):  # noqa: ASYNC110 - the kernel has no event for it
            await asyncio.sleep(_LOOK_SECONDS)
    cable, inside = _cable(number), _inside(holder.pid)
    peer = ("peer", "name", "eth0", "netns", f"{holder.pid}")
    _ip("link", "add", cable, "type", "veth", *peer)
    _ip("link", "set", cable, "master", _BRIDGE, "up")
    _ip("link", "set", "lo", "up", inside=inside)
    _ip("addr", "add", f"{_NETWORK}.{10 + number}/24", "dev", "eth0", inside=inside)
    _ip("link", "set", "eth0", "up", inside=inside)
    return holder.pid


def _id(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _inside(pid: int) -> list[str]:
    return ["/usr/bin/env", "nsenter", f"--net=/proc/{pid}/ns/net"]


def _cable(number: int) -> str:
    return f"cable{number}"


def _ip(*words: str, inside: list[str] | None = None) -> None:
    _run(*(inside or []), "ip", *words)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_NAMESPACE_SECONDS)

"""The allowlist of addresses: the sender's address, also behind trusted proxies. Pure.

Only the part of `X-Forwarded-For` that trusted proxies wrote is used. The header is read from the
right, and the first address that is not a trusted proxy is the sender's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORWARDED = b"x-forwarded-for"


@dataclass(frozen=True, slots=True)
class AllowList:
    """The networks a source may send from, and the trusted proxies."""

    networks: tuple[Network, ...]
    proxies: tuple[Network, ...] = ()

    def admits(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request from the address `peer` is allowed; header names are lower-case."""
        address = self._sender(peer, headers)
        return address is not None and _within(address, self.networks)

    def _sender(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> Address | None:
        """Return the sender's address; None if a trusted proxy's entry is not an address."""
        address = parsed(peer)
        hops = b",".join(value for name, value in headers if name == _FORWARDED)
        waiting = hops.decode("latin-1").split(",") if hops else []
        while address is not None and waiting and _within(address, self.proxies):
            address = _hop(waiting.pop())
        return address


def parsed(text: str) -> Address | None:
    """Parse an address; IPv4 mapped into IPv6 becomes IPv4, and an invalid text None."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket that listens on `host`."""
    address = parsed(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _hop(text: str) -> Address | None:
    """Parse one entry of the header: an address, possibly in brackets or with a port."""
    text = text.strip(" \t")
    if text.startswith("["):
        inside, closed, port = text[1:].partition("]")
        address = parsed(inside) if closed and _is_port(port) else None
        return address if ":" in inside else None
    if text.count(":") == 1:
        text, _, port = text.partition(":")
        return parsed(text) if _is_port(f":{port}") else None
    return parsed(text)


def _is_port(text: str) -> bool:
    digits = text.removeprefix(":")
    return not text or (text != digits and digits.isascii() and digits.isdigit())


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)

"""From where a webhook comes, pure: the sender's address behind proxies, and the allow-lists.

`X-Forwarded-For` is believed only as far as the proxies that are trusted wrote it: it is read from
the right, and the first address that is no such proxy is the sender's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORWARDED = b"x-forwarded-for"


@dataclass(frozen=True, slots=True)
class AllowList:
    """The networks a source may send from, and the proxies whose word on that is taken."""

    networks: tuple[Network, ...]
    proxies: tuple[Network, ...] = ()

    def admits(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request may come in; `peer` has connected, header names are in lower case."""
        address = self._sender(peer, headers)
        return address is not None and _within(address, self.networks)

    def _sender(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> Address | None:
        """The address of the sender, None if what a trusted proxy says is no address."""
        address = parsed(peer)
        hops = b",".join(value for name, value in headers if name == _FORWARDED)
        waiting = hops.decode("latin-1").split(",") if hops else []
        while address is not None and waiting and _within(address, self.proxies):
            address = _hop(waiting.pop())
        return address


def parsed(text: str) -> Address | None:
    """An address, IPv4 where it is IPv4 mapped into IPv6; None if the text is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    address = parsed(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _hop(text: str) -> Address | None:
    """One entry of the header: an address, with a port or in brackets perhaps."""
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

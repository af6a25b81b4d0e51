"""The sender's address: behind trusted proxies, behind others, and with forged headers."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.ip_allowlist import AllowList, is_loopback

_ALLOWED = (ip_network("203.0.113.0/24"), ip_network("2001:db8:a::/48"))
_PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
_IN = b"203.0.113.7"
_OUT = b"198.51.100.7"


def _admits(peer: str, *forwarded: bytes, proxies: bool = True) -> bool:
    hops = [(b"x-forwarded-for", value) for value in forwarded]
    headers = [(b"x-real-ip", _OUT), *hops, (b"host", b"x")]
    return AllowList(_ALLOWED, _PROXIES if proxies else ()).admits(peer, headers)


@pytest.mark.parametrize(
    ("peer", "forwarded", "admitted"),
    [
        ("203.0.113.7", [], True),
        ("203.0.113.255", [], True),
        ("203.0.114.0", [], False),
        ("::ffff:203.0.113.7", [], True),
        ("2001:db8:a::1", [], True),
        ("2001:db8:b::1", [], False),
        ("", [], False),
        ("unix:", [], False),
        # A header from a peer that is not a trusted proxy has no effect.
        ("198.51.100.7", [_IN], False),
        ("203.0.113.7", [_OUT], True),
        ("203.0.113.7", [b"\xff garbage"], True),
        # A trusted proxy is not a sender itself.
        ("10.1.2.3", [], False),
        ("10.1.2.3", [b""], False),
        ("10.1.2.3", [_IN], True),
        ("10.1.2.3", [_OUT], False),
        ("::ffff:10.1.2.3", [_IN], True),
        ("fd00::1", [_IN], True),
        # The right-most address that is not a trusted proxy counts.
        ("10.1.2.3", [b"203.0.113.7, 198.51.100.7"], False),
        ("10.1.2.3", [b"198.51.100.7, 203.0.113.7"], True),
        ("10.1.2.3", [b"198.51.100.7,203.0.113.7 ,\t10.9.9.9"], True),
        ("10.1.2.3", [_OUT, _IN], True),
        ("10.1.2.3", [_IN, _OUT], False),
        ("10.1.2.3", [_IN, b"10.9.9.9", b"fd00::2"], True),
        ("10.1.2.3", [b"10.9.9.9, 10.8.8.8"], False),
        # In the notations that proxies use.
        ("10.1.2.3", [b"203.0.113.7:4711"], True),
        ("10.1.2.3", [b"::ffff:203.0.113.7"], True),
        ("10.1.2.3", [b"2001:db8:a::1"], True),
        ("10.1.2.3", [b"[2001:db8:a::1]"], True),
        ("10.1.2.3", [b"[2001:db8:a::1]:4711"], True),
        ("10.1.2.3", [b"[::ffff:203.0.113.7]:1"], True),
        # An invalid address stops the search: the entries left of it may be forged.
        ("10.1.2.3", [b"203.0.113.7, unknown"], False),
        ("10.1.2.3", [b"203.0.113.7, "], False),
        ("10.1.2.3", [b"203.0.113.7, \xff\xfe"], False),
        ("10.1.2.3", [b"203.0.113.7, _hidden, 10.9.9.9"], False),
        ("10.1.2.3", [b"203.0.113.7:"], False),
        ("10.1.2.3", [b"203.0.113.7:x"], False),
        ("10.1.2.3", [b"203.0.113.7:\xb2"], False),
        ("10.1.2.3", [b"[203.0.113.7]"], False),
        ("10.1.2.3", [b"[2001:db8:a::1"], False),
        ("10.1.2.3", [b"[2001:db8:a::1]4711"], False),
        ("10.1.2.3", [b"203.0.113.07"], False),
        ("10.1.2.3", [b"3405803783"], False),
        ("10.1.2.3", [b"203.0.113.7/32"], False),
    ],
)
def test_allowed_addresses(peer: str, forwarded: list[bytes], *, admitted: bool) -> None:
    """The peer's address decides or, behind trusted proxies, the address that connected to them."""
    assert _admits(peer, *forwarded) is admitted


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    """Only the peer's own address counts."""
    assert not _admits("10.1.2.3", _IN, proxies=False)
    assert _admits("203.0.113.7", _OUT, proxies=False)


@given(st.lists(st.binary(max_size=30), max_size=4), st.sampled_from(["198.51.100.7", "::1"]))
def test_a_forged_header_admits_no_sender(forwarded: list[bytes], peer: str) -> None:
    """No header that an unknown sender writes admits it, directly or through a proxy."""
    assert not _admits(peer, *forwarded, _IN)
    assert not _admits("10.1.2.3", *forwarded, peer.encode())


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("127.1", False),
        ("128.0.0.1", False),
        ("::ffff:192.0.2.1", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
    ],
)
def test_loopback_addresses(host: str, *, loopback: bool) -> None:
    """Addresses are compared as addresses, not as text."""
    assert is_loopback(host) is loopback

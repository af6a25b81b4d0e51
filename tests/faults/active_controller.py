"""Finds the active controller by DescribeQuorum (KIP-595), encoded here.

The client libraries of the tests lack this request. Metadata of KRaft brokers names any broker.
"""

import socket
import struct

_API_KEY, _VERSION, _CORRELATION = 55, 0, 1
_TOPIC = b"__cluster_metadata"
_SECONDS = 5


def active_controller(host: str, port: int) -> int:
    """Return the id of the active controller, as one broker reports it."""
    with socket.create_connection((host, port), timeout=_SECONDS) as connection:
        connection.sendall(_request())
        stream = connection.makefile("rb")
        [length] = struct.unpack(">i", stream.read(4))
        return _leader(stream.read(length))


def _request() -> bytes:
    header = struct.pack(">hhih", _API_KEY, _VERSION, _CORRELATION, -1) + b"\0"
    partition = struct.pack(">i", 0) + b"\0"
    topic = bytes([len(_TOPIC) + 1]) + _TOPIC + b"\2" + partition + b"\0"
    request = header + b"\2" + topic + b"\0"
    return struct.pack(">i", len(request)) + request


def _leader(answer: bytes) -> int:
    """Read the leader of the one partition of the one topic."""
    # Correlation id and tags; error; the number of topics; the name with its length.
    at = 4 + 1
    [error] = struct.unpack_from(">h", answer, at)
    if error:
        raise OSError(f"DescribeQuorum failed: error {error}")
    at += 2 + 1 + 1 + len(_TOPIC) + 1
    _, error, leader = struct.unpack_from(">ihi", answer, at)
    if error or leader < 0:
        raise OSError(f"the quorum has no leader: error {error}, leader {leader}")
    return int(leader)

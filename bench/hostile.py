"""Webhook bodies that are expensive on purpose, and ordinary bodies of the same sizes."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from random import Random
from typing import NamedTuple

from processors.normalising.decompression import MAX_INFLATED
from providers.json_slices import MAX_ITEMS, USUAL
from schemas.topics import MAX_BODY
from schemas.webhook import RawWebhook

_STATUS = b'{"message_id":"m","gateway":"sms","result":"sent"'
# Random digits that keep the compression ratio of the largest body below 100.
_PADDING = 120_000


class Sent(NamedTuple):
    """A posted body and its `Content-Encoding`."""

    provider: str
    body: bytes
    encoding: str = ""

    def received(self) -> RawWebhook:
        """Return the webhook as ingest publishes it."""
        headers = {"content-encoding": self.encoding} if self.encoding else {}
        return RawWebhook(
            id="bench",
            source=self.provider,
            provider=self.provider,
            body=self.body,
            received_at=1_700_000_000_000,
            headers=headers,
        )


def zipped(data: bytes) -> bytes:
    """Return one gzip member; the bytes are reproducible."""
    return gzip.compress(data, mtime=0)


@cache
def _padding() -> bytes:
    return Random(1).randbytes(_PADDING).hex().encode()  # noqa: S311 - repeatable on purpose


def _filled(before: bytes, unit: bytes, after: bytes, size: int, most: int = 2**63) -> bytes:
    """Repeat `unit` between two ends up to `size` bytes, at most `most` times."""
    count = (size - len(before) - len(after)) // len(unit)
    return before + unit * min(count, most) + after


def _plain(before: bytes, unit: bytes, after: bytes, most: int = 2**63) -> Sent:
    return Sent("smsmanager", _filled(before, unit, after, MAX_BODY, most))


def _large(before: bytes, unit: bytes, after: bytes, most: int = 2**63) -> Sent:
    """Return a compressed body of the largest decompressed size; `PAD` becomes the padding."""
    text = _filled(before.replace(b"PAD", _padding()), unit, after, MAX_INFLATED, most)
    return Sent("smsmanager", zipped(text), "gzip")


def _array(provider: str, items: Iterable[bytes]) -> Sent:
    joined = b"[" + b",".join(items) + b"]"
    if provider == "whapi":
        joined = b'{"channel_id":"C-1","statuses":' + joined + b"}"
    return Sent(provider, joined)


def _compressed(sent: Sent) -> Sent:
    return Sent(sent.provider, zipped(sent.body), "gzip")


def report(number: int) -> bytes:
    """Return a typical delivery report of SmsManager."""
    item = {
        "type": "outgoing",
        "message_id": f"e27ff0ac-87b5-4e1d-b644-{number:012d}-0",
        "request_id": "e27ff0ac-87b5-4e1d-b644-5fc6029e2a11",
        "gateway": "sms",
        "timestamp": 1_700_000_000 + number,
        "to": {"phone_number": "420777123456"},
        "result": "delivered",
        "payload": {"order": number},
        "sms": {"gateway": "sms", "sender": "Shop", "country": 230, "price_czk": 0.89, "count": 1},
    }
    return json.dumps(item, separators=(",", ":")).encode()


def _receipt(number: int) -> bytes:
    item = {"id": f"Yh{number}-w", "status": "delivered", "timestamp": "1700000000"}
    item["recipient_id"] = "420777123456@s.whatsapp.net"
    return json.dumps(item, separators=(",", ":")).encode()


def _short_report(number: int, more: bytes = b"") -> bytes:
    return _STATUS.replace(b'"m"', b'"m-%d"' % number) + more + b"}"


ORDINARY: dict[str, Callable[[], Sent]] = {
    "one report": lambda: _array("smsmanager", [report(1)]),
    "one receipt": lambda: _array("whapi", [_receipt(1)]),
    "100 reports": lambda: _array("smsmanager", map(report, range(100))),
    "100 receipts": lambda: _array("whapi", map(_receipt, range(100))),
    "2 400 reports": lambda: _array("smsmanager", map(report, range(2400))),
    "10 000 reports, gzip": lambda: _compressed(
        _array("smsmanager", map(report, range(MAX_ITEMS)))
    ),
}

_IN = _STATUS + b',"payload":['
_OUT = b"]}]"
_DEEP = b"[" * 60 + b"]" * 60

HOSTILE: dict[str, Callable[[], Sent]] = {
    "16 gzip members": lambda: Sent("smsmanager", _members(16), "gzip"),
    "17 gzip members": lambda: Sent("smsmanager", _members(17), "gzip"),
    "1 000 gzip members, 10 MB": lambda: Sent("smsmanager", _members(1000), "gzip"),
    "40 000 empty gzip members": lambda: Sent("smsmanager", zipped(b"") * 40_000, "gzip"),
    "deflate blocks without content": lambda: Sent("smsmanager", _empty_blocks(), "deflate"),
    "gzip bomb": lambda: Sent("smsmanager", zipped(bytes(900 * 1024 * 1024)), "gzip"),
    "gzip bomb at the ratio": lambda: _large(b'["PAD"', b" ", b"]"),
    "10 000 items with NaN": lambda: _array(
        "smsmanager", (_short_report(n, b',"payload":NaN') for n in range(MAX_ITEMS))
    ),
    "10 000 items with odd fields": lambda: _array(
        "smsmanager", (_short_report(n, b',"sms":{"count":"2"},"to":[0]') for n in range(MAX_ITEMS))
    ),
    "10 000 items, the last NaN": lambda: _array(
        "whapi", [*map(_receipt, range(8000)), *[b"{}"] * 1999, b"NaN"]
    ),
    "10 000 tiny items": lambda: _array("smsmanager", [b"{}"] * MAX_ITEMS),
    "10 000 tiny receipts": lambda: _array("whapi", [b"{}"] * MAX_ITEMS),
    "500 000 tiny items": lambda: Sent("smsmanager", b"[" + b"0," * 450_000 + b"0]"),
    "brackets 64 deep": lambda: _plain(b"[[0", b"," + b"[" * 62 + b"]" * 62, b"]]"),
    "brackets 64 deep, at the bound": lambda: _plain(
        b"[" + _IN + b"0", b"," + _DEEP, _OUT, USUAL.containers // 60 - 1
    ),
    "brackets that never close": lambda: Sent("smsmanager", b"[" * MAX_BODY),
    "objects at the bound": lambda: _plain(
        b"[" + _IN + b"0", b',{"":0}', _OUT, USUAL.containers - 10
    ),
    "values at the bound": lambda: _large(
        b"[" + _STATUS + b',"x":"PAD","payload":[0', b",1e1", _OUT, USUAL.commas - 10
    ),
    "values at the bound, ignored": lambda: _large(
        b"[" + _STATUS + b',"x":["PAD"', b",1e1", _OUT, USUAL.commas - 10
    ),
    "brackets, 10 MB": lambda: _large(b"[" + _STATUS + b',"x":["PAD"', b"," + _DEEP, _OUT),
    "brackets and NaN, 10 MB": lambda: _large(
        b"[" + _STATUS + b',"x":["PAD",NaN', b",[]", _OUT, USUAL.containers - 10
    ),
    "a string of escapes": lambda: _plain(b"[" + _STATUS + b',"payload":"', b"\\u0061", b'"}]'),
    "a string of escapes, 10 MB": lambda: _large(
        b"[" + _STATUS + b',"x":"PAD","payload":"', b"\\n", b'"}]'
    ),
    "a string of quotes, 10 MB": lambda: _large(
        b"[" + b"[]," * 70 + _STATUS + b',"x":"PAD","payload":"', b'\\"', b'"}]'
    ),
    "a string that never ends": lambda: _plain(b"[" * 65 + b'"', b'\\"', b""),
    "strings, 10 MB": lambda: _large(
        b"[" + _STATUS + b',"x":["PAD"', b',""', _OUT, USUAL.commas - 10
    ),
    "a key 50 000 times": lambda: _plain(b"[" + _STATUS, b',"result":"sent"', b"}]"),
    "a key as often as the bound allows": lambda: _large(
        b"[" + _STATUS + b',"x":"PAD"', b',"result":"sent"', b"}]", USUAL.commas - 10
    ),
    "a key 600 000 times": lambda: _large(
        b"[" + _STATUS + b',"x":"PAD"', b',"result":"sent"', b"}]"
    ),
    "two items at the bound": lambda: _two_at_the_bound(),  # noqa: PLW0108 - defined below
    "90 000 keys": lambda: Sent("smsmanager", b"[" + _STATUS + _keys(90_000) + b"}]"),
    "90 000 keys, an odd one": lambda: Sent(
        "smsmanager", b"[" + _STATUS + b',"sms":1' + _keys(90_000) + b"}]"
    ),
    "90 000 keys of a message, an odd one": lambda: Sent(
        "whapi",
        b'{"messages":[{"id":"m","type":"text","from_me":false,"from":"1","context":1'
        + _keys(90_000)
        + b"}]}",
    ),
    "90 000 members": lambda: Sent("whapi", b'{"statuses":[]' + _keys(90_000) + b"}"),
    "90 000 members, one NaN": lambda: Sent("whapi", b'{"x":NaN' + _keys(90_000) + b"}"),
    "arrays of items under many keys": lambda: Sent(
        "whapi", b'{"statuses":[]' + _many_arrays(40, 9000) + b"}"
    ),
    "a number of 900 000 digits": lambda: _plain(
        b"[" + _STATUS + b',"timestamp":', b"9", b"}]", 900_000
    ),
    "numbers of 4 000 digits, 10 MB": lambda: _large(
        b"[" + _STATUS + b',"x":"PAD","payload":[0', b"," + b"9" * 4000, _OUT
    ),
    "fractions of 4 000 digits, 10 MB": lambda: _large(
        b"[" + _STATUS + b',"x":"PAD","payload":[0', b",0." + b"9" * 4000, _OUT
    ),
    "not UTF-8 at the end, 10 MB": lambda: _large(b'["PAD', "é€".encode(), b'\xff"]'),
}


def _two_at_the_bound() -> Sent:
    item = _STATUS + b',"result":"sent"' * (USUAL.commas - 10) + b"}"
    padding = b'"' + _padding() + b'"'
    return Sent("smsmanager", zipped(b"[" + b",".join([padding, item, item]) + b"]"), "gzip")


def _members(count: int) -> bytes:
    """Return `count` gzip members; the first has nearly the largest decompressed size."""
    padding = zipped(_padding())
    first = zipped(b"[" + b" " * (9_500_000))
    return first + padding + zipped(b" ") * (count - 2)


def _empty_blocks() -> bytes:
    """Return dynamic Huffman blocks with long tables and no content (RFC 1951, 3.2.7)."""
    bits = "".join(_empty_block())
    size = len(bits) * 8  # eight blocks end at a byte boundary
    whole = bits * 8
    unit = int(whole[::-1], 2).to_bytes(size // 8, "little")
    return unit * (MAX_BODY // len(unit))


def _empty_block() -> Iterator[str]:
    """Yield the bits of one block in the order of transmission."""
    yield "0" + "01"  # not the last block; dynamic tables
    yield _number(0, 5) + _number(0, 5) + _number(14, 4)  # 257 literals, 1 distance, 18 lengths
    lengths = {18: 1, 1: 1}  # runs of zeros, and the length 1
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    yield from (_number(lengths.get(symbol, 0), 3) for symbol in order)
    yield "1" + _number(138 - 11, 7) + "1" + _number(118 - 11, 7)  # 256 literals are not used
    yield "0" + "0"  # the end of a block and the one distance have codes of one bit
    yield "0"  # the end of the block


def _number(value: int, width: int) -> str:
    """Return a number with its least significant bit first."""
    return f"{value:0{width}b}"[::-1]


def _keys(count: int) -> bytes:
    return b"".join(b',"%x":0' % number for number in range(count))


def _many_arrays(count: int, size: int) -> bytes:
    array = b"[" + b"0," * (size - 1) + b"0]"
    return b"".join(b',"%x":%b' % (number, array) for number in range(count))

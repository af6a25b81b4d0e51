"""The most expensive bodies that an authenticated sender can post. Pure, seeded.

Each kind names a message of its own, so that its key distinguishes it from honest traffic.
"""

import gzip
import json
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

from cli.simulator.requests import Post

MARK = "hostile"
SMSMANAGER, WHAPI = f"{MARK}-smsmanager", f"{MARK}-whapi"
CHANNEL = "HOSTILE-CHANNEL"

_TIME = 1_700_000_000
_KIB = 1024
_MEMBERS = 1000
_GZIP = {"content-type": "application/json", "content-encoding": "gzip"}
_AS_GZIP = 16 + zlib.MAX_WBITS


def reasons(random: Random) -> Iterator[Post]:
    """15 unknown results of one message, each with 880 KiB of random text."""
    for number in range(15):
        text = _random_text(random, 880 * _KIB)
        yield _plain([_report("reasons", result=f"word-{number}", result_info=text)])


def viewers(random: Random) -> Iterator[Post]:
    """39 000 viewers of one message in 30 compressed bodies, with ids of 500 digits."""
    for _ in range(30):
        items = [
            {
                "id": f"{MARK}-viewers",
                "status": "read",
                "recipient_id": "120363000000000000@g.us",
                "viewer_id": f"{random.getrandbits(2000):0500x}",
                "timestamp": _TIME,
            }
            for _ in range(1300)
        ]
        yield Post(
            WHAPI, gzip.compress(_json({"statuses": items, "channel_id": CHANNEL})), headers=_GZIP
        )


def gateways(_: Random) -> Iterator[Post]:
    """Two bodies of 6 500 invented gateways of one message each."""
    for number in range(2):
        name = f"gateways-{number}"
        items = (_report(name, gateway=f"gateway-{n:06}", request_id="r") for n in range(6500))
        yield _plain(items)


def inflated(random: Random) -> Iterator[Post]:
    """60 compressed bodies, each with five reasons of 1.85 MB for one message."""
    for number in range(60):
        items = [
            _report("inflated", result=f"word-{number}-{n}", result_info="a" * 1_850_000)
            for n in range(5)
        ]
        # Without it the compression ratio would exceed the limit.
        items[0]["payload"] = _random_text(random, 130 * _KIB)
        yield _compressed(items)


def members(random: Random) -> Iterator[Post]:
    """70 compressed bodies of 1 000 gzip members each."""
    for number in range(70):
        pieces = [_random_text(random, 100) + "a" * 10_000 for _ in range(_MEMBERS)]
        item = json.dumps(_report(f"members-{number}", ignored=""))
        head, tail = f"[{item[:-2]}", '"}]'
        parts = [head, *pieces[1:-1], tail]
        body = b"".join(_member(part.encode()) for part in parts)
        yield Post(SMSMANAGER, body, headers=_GZIP)


def words(_: Random) -> Iterator[Post]:
    """29 000 unknown results of one message, in six bodies."""
    for number in range(6):
        yield _plain(_report("words", result=f"word-{number}-{n:06}") for n in range(4830))


def replies(_: Random) -> Iterator[Post]:
    """20 000 replies to one message, in four bodies."""
    for number in range(4):
        yield _plain(
            {
                "message_id": f"{MARK}-replies",
                "gateway": "sms",
                "timestamp": _TIME,
                "type": "incoming",
                "sender": "447700900123",
                "body": f"text {number}-{n}",
            }
            for n in range(5000)
        )


def work(_: Random) -> Iterator[Post]:
    """20 bodies of 10 000 items that cannot be read, and 20 of brackets, 64 deep."""
    for number in range(20):
        yield _compressed(
            {**_report("work", result=f"word-{number}-{n}"), "gateway": float("nan")}
            for n in range(10_000)
        )
        nested = "[" * 63 + "]" * 63
        yield Post(SMSMANAGER, f"[{','.join([nested] * 7000)}]".encode())


def ordinary(_: Random) -> Iterator[Post]:
    """40 ordinary reports: a baseline that must always pass."""
    for number in range(40):
        yield _plain([_report(f"ordinary-{number}")])


KINDS: dict[str, Callable[[Random], Iterator[Post]]] = {
    one.__name__: one
    for one in (ordinary, reasons, viewers, gateways, inflated, members, words, replies, work)
}


def foreign(keys: Iterable[str]) -> Iterator[Post]:
    """Yield a report of failure for each of these keys, by a sender that does not own them."""
    for key in keys:
        provider, account, message_id = key.split("/", 2)
        if provider == "smsmanager":
            item = {**_report("", gateway="sms", result="failed"), "message_id": message_id}
            yield _plain([item])
        else:
            items = [{"id": message_id, "status": "failed", "timestamp": _TIME}]
            yield Post(WHAPI, _json({"statuses": items, "channel_id": account}))


def _report(name: str, gateway: str = "sms", result: str = "sent", **more: Any) -> dict[str, Any]:
    return {
        "message_id": f"{MARK}-{name}",
        "request_id": f"{MARK}-request",
        "gateway": gateway,
        "timestamp": _TIME,
        "type": "outgoing",
        "result": result,
        **more,
    }


def _plain(items: Iterable[Any]) -> Post:
    return Post(SMSMANAGER, _json(list(items)))


def _compressed(items: Iterable[Any]) -> Post:
    return Post(SMSMANAGER, gzip.compress(_json(list(items))), headers=_GZIP)


def _json(record: Any) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()


def _random_text(random: Random, length: int) -> str:
    return b64encode(random.randbytes(length * 3 // 4)).decode()


def _member(part: bytes) -> bytes:
    packer = zlib.compressobj(wbits=_AS_GZIP)
    return packer.compress(part) + packer.flush()

"""Malformed items and bodies for the simulation, each with the code it gets. Pure.

An item is malformed in one of its facts: any other field would only be left out.
"""

from random import Random
from typing import NamedTuple

import msgspec

from cli.simulator.batching import Lane, Tally, Told

_ABSENT = object()


class _Flaw(NamedTuple):
    """A field that is absent or holds what it should not, and the dead letter's code."""

    field: str
    value: object
    code: str


_REPORT = (
    _Flaw("result", _ABSENT, "missing_field"),
    _Flaw("message_id", _ABSENT, "missing_field"),
    _Flaw("message_id", 42, "wrong_type"),
    _Flaw("gateway", None, "wrong_type"),
    _Flaw("gateway", "", "bad_value"),
    _Flaw("result", ["sent"], "wrong_type"),
    _Flaw("type", "sideways", "bad_value"),
)
_STATUS = (
    _Flaw("id", _ABSENT, "missing_field"),
    _Flaw("status", _ABSENT, "missing_field"),
    _Flaw("status", 3, "wrong_type"),
    _Flaw("status", "", "bad_value"),
    _Flaw("id", "x" * 600, "bad_value"),
)
_MESSAGE = (
    _Flaw("id", _ABSENT, "missing_field"),
    _Flaw("from_me", _ABSENT, "missing_field"),
    _Flaw("from_me", "yes", "wrong_type"),
    _Flaw("type", "", "bad_value"),
)
_FLAWS = {"": _REPORT, "statuses": _STATUS, "messages": _MESSAGE}
_SOUND = {
    "": {
        "type": "outgoing",
        "message_id": "spoiled",
        "gateway": "sms",
        "timestamp": 1700000000,
        "result": "sent",
    },
    "statuses": {
        "id": "spoiled-0",
        "code": 2,
        "status": "sent",
        "recipient_id": "447700900999@s.whatsapp.net",
        "timestamp": "1700000000",
    },
    "messages": {
        "id": "spoiled-0",
        "type": "text",
        "from_me": True,
        "chat_id": "447700900999@s.whatsapp.net",
        "timestamp": 1700000000,
        "status": "pending",
        "text": {"body": "Hello"},
    },
}
_BODIES = (
    (b"", "empty_body"),
    (b"<html><body>502 Bad Gateway</body></html>", "not_json"),
    (b'{"statuses": [{"id": "cut off in the mid', "not_json"),
    (b'[{"id": "\xff\xfe"}]', "not_utf8"),
    (b'"ok"', "wrong_root"),
    (b"[" * 80 + b"]" * 80, "too_deep"),
)


def spoiled(random: Random, near: Told) -> Told:
    """Draw a malformed item to go into the same post as `near`, or a malformed body of its own."""
    flaws = _FLAWS.get(near.lane.data)
    if flaws is None or not random.randrange(4):
        body, code = random.choice(_BODIES)
        return Told(near.at, near.lane, body, Tally(dead_letter=code), whole=True)
    return _item(near.at, near.lane, random.choice(flaws))


def _item(at: float, lane: Lane, flaw: _Flaw) -> Told:
    item = {**_SOUND[lane.data], flaw.field: flaw.value}
    if flaw.value is _ABSENT:
        del item[flaw.field]
    return Told(at, lane, msgspec.json.encode(item), Tally(dead_letter=flaw.code))

"""Malformed items and bodies for the simulation, each with the code it gets. Pure.

An item is malformed in one of its facts: any other field would only be left out.
"""

from random import Random
from typing import Any

import msgspec

from cli.simulator.batching import Entry, Tally
from providers.simulation import ABSENT, Malformed, Simulator

# Bodies that no provider may accept.
_BODIES = (
    (b"", "empty_body"),
    (b"<html><body>502 Bad Gateway</body></html>", "not_json"),
    (b'{"statuses": [{"id": "cut off in the mid', "not_json"),
    (b'[{"id": "\xff\xfe"}]', "not_utf8"),
    (b'"ok"', "wrong_root"),
    (b"[" * 80 + b"]" * 80, "too_deep"),
)


def malformed(random: Random, simulator: Simulator[Any, Any], near: Entry) -> Entry:
    """Draw a malformed item to go into the same post as `near`, or a malformed body of its own."""
    kind = simulator.malformed(near.batch.of)
    if kind is None or not random.randrange(4):
        body, code = random.choice(_BODIES)
        return Entry(near.at, near.batch, body, Tally(dead_letter=code), whole=True)
    return _item(random, kind, near)


def _item(random: Random, kind: Malformed, near: Entry) -> Entry:
    flaw = random.choice(kind.flaws)
    item = {**kind.correct, flaw.field: flaw.value}
    if flaw.value is ABSENT:
        del item[flaw.field]
    return Entry(near.at, near.batch, msgspec.json.encode(item), Tally(dead_letter=flaw.code))

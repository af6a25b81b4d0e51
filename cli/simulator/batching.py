"""Simulated items gathered into posts, the way the two providers send them. Pure, seeded."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

import msgspec

from cli.simulator import payloads
from cli.simulator.payloads import Channel
from cli.simulator.requests import JSON, Post

# How often a batch is sent after one more item; so every second or third post is a batch.
_SENT_NOW = 0.6
_LARGEST = 20

# How many posts later a repetition comes, at most.
_LATER = 40


class Lane(NamedTuple):
    """What may share a post: a source; for Whapi the channel, the data key, the event and verb."""

    source: str
    channel: Channel | None = None
    data: str = ""
    event: str = ""
    verb: str = ""


class Tally(NamedTuple):
    """What one item amounts to."""

    observations: int = 0
    dead_letter: str | None = None
    ignored: str | None = None


class Told(NamedTuple):
    """One item, as JSON, on its way into a post at `at` (Unix seconds).

    `serial` is the message it tells of. A `whole` one is not an item but a body of its own. One
    that is not `repeatable` would be something new if it came again in another post.
    """

    at: float
    lane: Lane
    item: bytes
    tally: Tally
    serial: int | None = None
    repeatable: bool = True
    whole: bool = False


class Draft(NamedTuple):
    """A post and what its items amount to."""

    post: Post
    tallies: tuple[Tally, ...]


def batched(random: Random, told: Iterable[Told]) -> Iterator[Draft]:
    """Posts in the order of time; the items of one message stay in their order."""
    lanes: dict[Lane, list[Told]] = {}
    waiting: dict[int, Lane] = {}

    def close(lane: Lane) -> Draft:
        batch = lanes.pop(lane)
        for one in batch:
            if one.serial is not None:
                waiting.pop(one.serial, None)
        return _draft(random, lane, batch)

    for one in sorted(told, key=lambda one: one.at):
        if one.serial is not None:
            if waiting.get(one.serial, one.lane) != one.lane:
                yield close(waiting[one.serial])
            waiting[one.serial] = one.lane
        if one.whole:
            yield _draft(random, one.lane, [one])
            continue
        batch = lanes.setdefault(one.lane, [])
        batch.append(one)
        # A malformed item waits for company.
        if len(batch) == _LARGEST or not (one.tally.dead_letter or random.random() > _SENT_NOW):
            yield close(one.lane)
    for lane in list(lanes):
        yield close(lane)


def repeated(random: Random, drafts: Iterable[Draft], share: float) -> list[Draft]:
    """All posts, a share of them once more a little later, as a provider does that saw no 200."""
    placed: list[tuple[float, Draft]] = []
    for place, draft in enumerate(drafts):
        placed.append((place, draft))
        if random.random() < share:
            placed.append((place + random.uniform(0.5, _LATER), draft))
    return [draft for _, draft in sorted(placed, key=lambda one: one[0])]


def _draft(random: Random, lane: Lane, batch: list[Told]) -> Draft:
    make = _smsmanager if lane.source == "smsmanager" else _whapi
    post = make(random, lane, batch)
    return Draft(post, tuple(one.tally for one in batch))


def _smsmanager(random: Random, lane: Lane, batch: list[Told]) -> Post:
    """An array; now and then in the other two shapes that the vendor's own n8n node accepts."""
    headers = {**JSON, "user-agent": "SmsManager-Webhook/1.0"}
    if random.randrange(20):
        headers["x-request-id"] = payloads.uuid(random)
    body = b"[" + b",".join(one.item for one in batch) + b"]"
    shape = random.randrange(40)
    if batch[0].whole or (len(batch) == 1 and shape == 1):
        body = batch[0].item
    elif shape == 0:
        body = b'{"notifications":' + body + b"}"
    return Post(lane.source, body, headers=headers)


def _whapi(random: Random, lane: Lane, batch: list[Told]) -> Post:
    """An object. In the modes `path` and `method` it may be without its `event`.

    Whether it is, no public document says: consumers must get on without.
    """
    mode = lane.channel.mode if lane.channel else "body"
    path, method = "", "POST"
    if mode == "path":
        path = f"/{lane.event}/{lane.verb}"
    elif mode == "method":
        path, method = f"/{lane.event}", lane.verb.upper()
    if batch[0].whole:
        return Post(lane.source, batch[0].item, method, path)
    body: dict[str, object] = {lane.data: [msgspec.Raw(one.item) for one in batch]}
    if mode == "body" or random.randrange(2):
        body["event"] = {"type": lane.event, "event": lane.verb}
    body["channel_id"] = lane.channel.id if lane.channel else None
    return Post(lane.source, msgspec.json.encode(body), method, path)

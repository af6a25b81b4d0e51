"""Batching of simulated items into posts, as their provider does it. Pure, seeded."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from cli.simulator.requests import JSON, Post
from providers.simulation import Simulator

# The probability that a batch is sent after an item; so every second or third post is a batch.
_SENT_NOW = 0.6
_LARGEST = 20

# The maximum number of posts between an item and its repetition.
_LATER = 40

Simulators = Mapping[str, Simulator[Any, Any]]


class Batch(NamedTuple):
    """The key of items that may share a post: the source, and the provider's own `of`."""

    source: str
    of: Hashable


class Tally(NamedTuple):
    """The expected result of one item."""

    observations: int = 0
    dead_letter: str | None = None
    ignored: str | None = None


class Entry(NamedTuple):
    """One item, as JSON, that goes into a post at `at` (Unix seconds).

    `serial` is the message it reports. A `whole` one is not an item but a body of its own. One
    that is not `repeatable` would be another message if it came again in another post.
    """

    at: float
    batch: Batch
    item: bytes
    tally: Tally
    serial: int | None = None
    repeatable: bool = True
    whole: bool = False


class Draft(NamedTuple):
    """A post and the expected results of its items."""

    post: Post
    tallies: tuple[Tally, ...]


def batched(random: Random, simulators: Simulators, entries: Iterable[Entry]) -> Iterator[Draft]:
    """Posts in the order of time; the items of one message stay in their order."""
    open_: dict[Batch, list[Entry]] = {}
    waiting: dict[int, Batch] = {}

    def close(batch: Batch) -> Draft:
        items = open_.pop(batch)
        for one in items:
            if one.serial is not None:
                waiting.pop(one.serial, None)
        return _draft(random, simulators[batch.source], items)

    for one in sorted(entries, key=lambda one: one.at):
        if one.serial is not None:
            if waiting.get(one.serial, one.batch) != one.batch:
                yield close(waiting[one.serial])
            waiting[one.serial] = one.batch
        if one.whole:
            yield _draft(random, simulators[one.batch.source], [one])
            continue
        items = open_.setdefault(one.batch, [])
        items.append(one)
        # A malformed item waits for another item.
        if len(items) == _LARGEST or not (one.tally.dead_letter or random.random() > _SENT_NOW):
            yield close(one.batch)
    for batch in list(open_):
        yield close(batch)


def repeated(random: Random, drafts: Iterable[Draft], share: float) -> list[Draft]:
    """Return all posts, some of them twice, as a provider repeats a post without a 200."""
    placed: list[tuple[float, Draft]] = []
    for place, draft in enumerate(drafts):
        placed.append((place, draft))
        if random.random() < share:
            placed.append((place + random.uniform(0.5, _LATER), draft))
    return [draft for _, draft in sorted(placed, key=lambda one: one[0])]


def _draft(random: Random, simulator: Simulator[Any, Any], entries: list[Entry]) -> Draft:
    first = entries[0]
    items = [entry.item for entry in entries]
    body = first.item if first.whole else simulator.body(random, first.batch.of, items)
    request = simulator.request(random, first.batch.of, body)
    headers = {**JSON, **request.headers}
    post = Post(first.batch.source, request.body, request.method, request.path, headers)
    return Draft(post, tuple(entry.tally for entry in entries))

"""Compares the topics with the oracle; each difference becomes one sentence."""

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from schemas.topics import Topics, partition_of
from tests.broker.reading import Read
from tests.oracle.expected import (
    DeadLetter,
    ExpectedObservations,
    ExpectedOutputs,
    Published,
    canonical,
)

T = TypeVar("T", bound=Hashable)

Records = Mapping[str, Sequence[Read]]

OUTPUTS = ("statuses", "events", "inbound")
NEXT_TIMER = "next-timer-at"  # the header of `messages` with the time of the next timer
_VIEWER = "viewer/"  # the key of a viewer's state: viewer/<viewer>/<message key>
_EXAMPLES = 2
_LONGEST = 250


@dataclass(frozen=True)
class Found:
    """The records on the topics: `late` read at the end, `live` read as they were published."""

    late: Records
    live: Records


def compare_outputs(
    topics: Topics, partitions: int, found: Found, expected: ExpectedOutputs
) -> list[str]:
    """Return all differences between the tracker's topics and the expected outputs."""
    late = _published(topics, found.late, expected)
    live = _published(topics, found.live, expected)
    # Both readers must see the same. Most differences are in both: each is reported once.
    wrong = late + [f"(live reader) {one}" for one in live if one not in late]
    for name, records in found.late.items():
        wrong += _aborted(name, found.live[name], records)
        wrong += _misplaced(name, records, partitions)
    return wrong


def compare_observations(
    observations: Iterable[Read],
    letters: Iterable[Read],
    expected: ExpectedObservations,
    *,
    repeats: bool,
) -> list[str]:
    """Return all differences in what normalise published; `repeats`: it may repeat itself."""
    seen = Counter((record.key, record.value) for record in observations)
    kept = Counter(map(_dead_letter, letters))
    wrong = _sets("observations", expected.observations, set(seen))
    wrong += _sets("dead letters", expected.dead_letters, set(kept))
    if not repeats:
        for what, total, distinct in (
            ("observations", seen.total(), len(seen)),
            ("dead letters", kept.total(), len(kept)),
        ):
            if total != distinct:
                wrong.append(f"{what}: {total - distinct} repeated though nothing was disturbed")
    return wrong


def differences(
    what: str,
    *,
    lost: Sequence[object] = (),
    doubled: Sequence[object] = (),
    foreign: Sequence[object] = (),
) -> list[str]:
    """Return a sentence for each kind of difference that there is."""
    return [
        *_sentence(what, "lost", lost),
        *_sentence(what, "doubled", doubled),
        *_sentence(what, "changed or invented", foreign),
    ]


def outlived(key: str, value: bytes | None, expected: ExpectedOutputs) -> bool:
    """Whether it is the state of a viewer whose message has expired: it is dropped later."""
    if not key.startswith(_VIEWER) or key in expected.states:
        return False
    message = expected.states.get(_message_key(key))
    if value is None or message is None:
        return True
    attempts = json.loads(value)["attempts"].values()
    newest = max(fact["received_at"] for one in attempts for fact in one["facts"].values())
    return bool(newest < message["first_seen_at"])


def _published(topics: Topics, found: Records, expected: ExpectedOutputs) -> list[str]:
    wrong = []
    for topic in OUTPUTS:
        wrong += _outputs(topic, found[f"{topics.namespace}.{topic}"], expected.outputs[topic])
    return wrong + _states("messages", found[topics.messages], expected)


def _outputs(
    what: str, records: Iterable[Read], expected: Mapping[str, Sequence[Published]]
) -> list[str]:
    records = list(records)
    found: dict[str, list[Published]] = {}
    for record in records:
        one = Published(record.headers["ce_id"].decode(), canonical(json.loads(record.value)))
        found.setdefault(record.key, []).append(one)
    wrong = _multisets(what, _entries(expected), _entries(found))
    if not wrong:
        disordered = [key for key in expected if found[key] != expected[key]]
        wrong += _sentence(what, "out of order", disordered)
    coordinates: dict[bytes, list[str]] = {}
    for record in records:
        at = f"[{record.partition}]@{record.offset} of {record.timestamp}"
        coordinates.setdefault(record.headers["ce_id"], []).append(at)
    twice = [" and ".join(at) for at in coordinates.values() if len(at) > 1]
    return wrong + _sentence(what, "of the same ce_id", twice)


def _entries(records: Mapping[str, Sequence[Published]]) -> Counter[tuple[str, Published]]:
    return Counter((key, one) for key, ones in records.items() for one in ones)


def _states(what: str, records: Iterable[Read], expected: ExpectedOutputs) -> list[str]:
    last = {r.key: r for r in records if not outlived(r.key, r.value, expected)}
    states = {(key, canonical(state)) for key, state in expected.states.items()}
    wrong = _sets(what, states, {(key, canonical(_state(one))) for key, one in last.items()})
    timers = {key: _next_timer(record) for key, record in last.items()}
    mistimed = [key for key, due in expected.due.items() if timers.get(key) != due]
    return wrong + _sentence(what, "with the wrong time of the next timer", mistimed)


def _aborted(name: str, live: Iterable[Read], late: Iterable[Read]) -> list[str]:
    """Return the differences between both readers; a record only seen live was not committed."""
    there = {(r.partition, r.offset, r.key, r.value) for r in late}
    seen = Counter((r.partition, r.offset, r.key, r.value) for r in live)
    gone = [one for one in seen if one not in there]
    unseen = [one for one in there if one not in seen]
    twice = [one for one, times in seen.items() if times > 1]
    return [
        *_sentence(name, "seen live and not there any more (aborted read)", gone),
        *_sentence(name, "there and never seen live", unseen),
        *_sentence(name, "at one offset, seen live twice", twice),
    ]


def _misplaced(name: str, records: Iterable[Read], partitions: int) -> list[str]:
    wrong = [r.key for r in records if partition_of(_message_key(r.key), partitions) != r.partition]
    return _sentence(name, "on the wrong partition", wrong)


def _message_key(key: str) -> str:
    """Return the message key in a record's key."""
    return key.split("/", 2)[2] if key.startswith(_VIEWER) else key


def _multisets(what: str, expected: Counter[T], found: Counter[T]) -> list[str]:
    surplus = found - expected
    return differences(
        what,
        lost=list((expected - found).elements()),
        doubled=[one for one in surplus.elements() if one in expected],
        foreign=[one for one in surplus if one not in expected],
    )


def _sets(what: str, expected: set[T], found: set[T]) -> list[str]:
    return differences(what, lost=list(expected - found), foreign=list(found - expected))


def _sentence(what: str, trouble: str, those: Sequence[object]) -> list[str]:
    if not those:
        return []
    examples = "; ".join(_short(one) for one in sorted(those, key=repr)[:_EXAMPLES])
    return [f"{what}: {len(those)} {trouble}, such as {examples}"]


def _short(one: object) -> str:
    text = one if isinstance(one, str) else repr(one)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _state(record: Read) -> Any:
    """Return a state as JSON; None for one that was dropped."""
    return None if record.value is None else json.loads(record.value)


def _next_timer(record: Read) -> int | None:
    value = record.headers.get(NEXT_TIMER)
    return None if value is None else int(value)


def _dead_letter(record: Read) -> DeadLetter:
    texts = {name: value.decode() for name, value in record.headers.items()}
    return DeadLetter(
        texts["__streams.errors.topic"],
        int(texts["__streams.errors.partition"]),
        int(texts["__streams.errors.offset"]),
        texts["dead-letter-pointer"],
        texts["dead-letter-code"],
        record.value,
    )

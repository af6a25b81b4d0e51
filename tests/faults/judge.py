"""Compares what came out with what the oracle expects; each difference becomes one sentence."""

import json
import traceback
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from processors.dead_letters import record as deadletters
from processors.tracking.changelog_headers import NEXT_TIMER
from schemas.topics import Topics, partition_of
from tests.broker.reading import Read
from tests.faults.oracle import Letter, Normalised, Tracked, canonical

T = TypeVar("T", bound=Hashable)

Records = Mapping[str, Sequence[Read]]

OUTPUTS = ("statuses", "events", "inbound")
_VIEWER = "viewer/"  # the key of a viewer's state: viewer/<viewer>/<message key>
_EXAMPLES = 2
_LONGEST = 250


@dataclass(frozen=True)
class Found:
    """What is on the topics: `late` as read at the end, `live` as seen while it came."""

    late: Records
    live: Records


def judge(topics: Topics, partitions: int, found: Found, tracked: Tracked) -> list[str]:
    """Everything that is wrong with what the tracker published."""
    late = _published(topics, found.late, tracked)
    live = _published(topics, found.live, tracked)
    # Both readers must see the same; mostly what is wrong is wrong for both.
    wrong = late + [f"(live reader) {one}" for one in live if one not in late]
    for name, records in found.late.items():
        wrong += _aborted(name, found.live[name], records)
        wrong += _misplaced(name, records, partitions)
    return wrong


def judge_normalised(
    observations: Iterable[Read],
    letters: Iterable[Read],
    expected: Normalised,
    *,
    repeats: bool,
) -> list[str]:
    """Everything that is wrong with what normalise published; it may repeat itself if disturbed."""
    seen = Counter((record.key, record.value) for record in observations)
    kept = Counter(map(_letter, letters))
    wrong = _sets("observations", expected.observations, set(seen))
    wrong += _sets("dead letters", expected.letters, set(kept))
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
    """A sentence for each kind of difference there is."""
    return [
        *_told(what, "lost", lost),
        *_told(what, "doubled", doubled),
        *_told(what, "changed or invented", foreign),
    ]


def explained(error: BaseException) -> list[str]:
    """What broke a trial, and where in the suite."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return [f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"]


def _published(topics: Topics, found: Records, tracked: Tracked) -> list[str]:
    wrong = []
    for topic in OUTPUTS:
        wrong += _outputs(topic, found[f"{topics.namespace}.{topic}"], tracked.outputs[topic])
    return wrong + _states("messages", found[topics.messages], tracked)


def _outputs(
    what: str, records: Iterable[Read], expected: Mapping[str, Sequence[str]]
) -> list[str]:
    records = list(records)
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(record.key, []).append(_json(record))
    entries = Counter((key, one) for key, ones in expected.items() for one in ones)
    there = Counter((key, one) for key, ones in found.items() for one in ones)
    wrong = _multisets(what, entries, there)
    if not wrong:
        disordered = [key for key in expected if found[key] != expected[key]]
        wrong += _told(what, "out of order", disordered)
    places: dict[bytes, list[str]] = {}
    for record in records:
        at = f"[{record.partition}]@{record.offset} of {record.timestamp}"
        places.setdefault(record.headers["ce_id"], []).append(at)
    twice = [" and ".join(at) for at in places.values() if len(at) > 1]
    return wrong + _told(what, "of the same ce_id", twice)


def _states(what: str, records: Iterable[Read], tracked: Tracked) -> list[str]:
    last = {record.key: record for record in records if not _outlived(record, tracked)}
    expected = {(key, canonical(state)) for key, state in tracked.states.items()}
    wrong = _sets(what, expected, {(key, _state(record)) for key, record in last.items()})
    timers = {key: _next_timer(record) for key, record in last.items()}
    mistimed = [key for key, due in tracked.due.items() if timers.get(key) != due]
    return wrong + _told(what, "with the wrong time of the next timer", mistimed)


def _outlived(record: Read, tracked: Tracked) -> bool:
    """Whether it is the state of a viewer whose message has expired: it follows some time later."""
    if not record.key.startswith(_VIEWER) or record.key in tracked.states:
        return False
    message = tracked.states.get(record.key.split("/", 2)[2])
    if record.value is None or message is None:
        return True
    attempts = json.loads(record.value)["attempts"].values()
    newest = max(fact["received_at"] for one in attempts for fact in one["facts"].values())
    return bool(newest < message["first_seen_at"])


def _aborted(name: str, live: Iterable[Read], late: Iterable[Read]) -> list[str]:
    """A record that a live reader saw and that is not there: it was never committed."""
    there = {(r.partition, r.offset, r.key, r.value) for r in late}
    seen = Counter((r.partition, r.offset, r.key, r.value) for r in live)
    gone = [one for one in seen if one not in there]
    unseen = [one for one in there if one not in seen]
    twice = [one for one, times in seen.items() if times > 1]
    return [
        *_told(name, "seen live and not there any more (aborted read)", gone),
        *_told(name, "there and never seen live", unseen),
        *_told(name, "at one place, seen live twice", twice),
    ]


def _misplaced(name: str, records: Iterable[Read], partitions: int) -> list[str]:
    wrong = [r.key for r in records if partition_of(_home(r.key), partitions) != r.partition]
    return _told(name, "on the wrong partition", wrong)


def _home(key: str) -> str:
    """The message key in a record's key."""
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


def _told(what: str, trouble: str, those: Sequence[object]) -> list[str]:
    if not those:
        return []
    examples = "; ".join(_short(one) for one in sorted(those, key=repr)[:_EXAMPLES])
    return [f"{what}: {len(those)} {trouble}, such as {examples}"]


def _short(one: object) -> str:
    text = one if isinstance(one, str) else repr(one)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _json(record: Read) -> str:
    return canonical(json.loads(record.value))


def _state(record: Read) -> str:
    """A state without the version of its format; null for one that was dropped."""
    if record.value is None:
        return canonical(None)
    state = json.loads(record.value)
    state.pop("version", None)
    return canonical(state)


def _next_timer(record: Read) -> int | None:
    value = record.headers.get(NEXT_TIMER)
    return None if value is None else int(value)


def _letter(record: Read) -> Letter:
    texts = {name: value.decode() for name, value in record.headers.items()}
    return Letter(
        texts[deadletters.TOPIC],
        int(texts[deadletters.PARTITION]),
        int(texts[deadletters.OFFSET]),
        texts[deadletters.POINTER],
        texts[deadletters.CODE],
        record.value,
    )

"""The comparison of a run's outputs with the expected ones."""

from collections import Counter
from collections.abc import Hashable

import msgspec
import pytest

from bench.peers import outputs, track
from bench.peers.cloud_events import headers_of
from bench.peers.outputs import Ids, difference
from processors.tracking.next_state import track as bluetick_tracks
from schemas.codec import decode_observation, encode
from schemas.records import MessageState

_MESSAGES = 300
_BASE_MS = 1_790_000_000_000


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"a": 1, "b": 2}, ""),
        ({"a": 1, "b": 1}, "dropped 1, such as 'b'"),
        ({"b": 2}, "dropped 1, such as 'a'"),
        ({"a": 3, "b": 2}, "doubled 2, such as 'a'"),
        ({"a": 1, "b": 2, "c": 1}, "invented 1, such as 'c'"),
    ],
)
def test_difference(found: dict[Hashable, int], said: str) -> None:
    one = difference({"a": 1, "b": 2}, found)
    assert (str(one) if one else "") == said


def test_ids() -> None:
    ids = Ids()
    ids.add(headers_of("t", "1", "k", 0))
    ids.add(headers_of("t", "2", "k", 0))
    assert ids.wrong == ""
    ids.add(headers_of("t", "2", "k", 0))
    assert ids.wrong == "two records have the id b'2'"
    lacking = Ids()
    lacking.add([header for header in headers_of("t", "1", "k", 0) if header[0] != "ce_time"])
    assert lacking.wrong == "a record lacks the header ce_time"


def test_input_of_track() -> None:
    """The input has four statuses a message, about a tenth of them twice, and not in order."""
    seen = [(one["message_key"], one["status"]) for one in track.observations(_MESSAGES, _BASE_MS)]
    counts = Counter(seen)
    assert len(counts) == 4 * _MESSAGES
    assert 1.05 < len(seen) / len(counts) < 1.15
    assert len(Counter(key for key, _ in counts)) == _MESSAGES
    first = dict(reversed(seen))
    assert 0 < sum(status != "sending" for status in first.values()) < _MESSAGES / 2


def test_the_lifecycle_of_the_peers_agrees_with_bluetick() -> None:
    """On the job's input, so that the outputs of all subjects can be compared."""
    want = track.expected(_MESSAGES, _BASE_MS)
    states: dict[str, MessageState] = {}
    values: dict[str, list[bytes]] = {"statuses": [], "events": []}
    for one in track.observations(_MESSAGES, _BASE_MS):
        observation = decode_observation(msgspec.json.encode(one))
        key = observation.message_key
        step = bluetick_tracks(states.get(key), key, observation)
        states[key] = step.state
        for output in step.outputs:
            values[output.topic].append(output.value)
    assert outputs.statuses(values["statuses"]) == want.statuses
    assert outputs.events(values["events"]) == want.events
    assert outputs.states((key, encode(state)) for key, state in states.items()) == want.states
    assert {event[0] for event in want.events} == {"advanced", "late"}  # type: ignore[index]

"""What the topics must hold: a single-threaded recomputation from the raw topics.

One dictionary, one loop, no broker: whatever the services did, killed or not, must come to this.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from processors.normalising.normalise import normalise
from processors.tracking.track import track
from schemas.codec import encode
from schemas.coordinates import Coordinates
from schemas.records import MessageState, ViewerState, record_keys, state_key
from schemas.topics import Topics
from schemas.webhook import from_record
from tests.broker.reading import Read


@dataclass
class Recomputed:
    """Expected contents, as bytes: multisets of (key, ce_id, value), and the last state by key."""

    outputs: dict[str, Counter[tuple[str, str, bytes]]] = field(
        default_factory=lambda: {"statuses": Counter(), "events": Counter(), "inbound": Counter()}
    )
    messages: dict[str, bytes] = field(default_factory=dict)
    dead_letters: Counter[tuple[str, bytes]] = field(default_factory=Counter)


def recompute(topics: Topics, raw: Iterable[Read]) -> Recomputed:
    """Fold raw records, given in the order in which each message's were written."""
    result = Recomputed()
    states: dict[str, MessageState] = {}
    viewers: dict[str, ViewerState] = {}
    for record in raw:
        provider = topics.provider_of(record.topic)
        webhook = from_record(provider, record.value, record.headers.items(), record.timestamp)
        at = Coordinates(record.topic, record.partition, record.offset)
        normalised = normalise(webhook, at)
        result.dead_letters.update((x.code, x.value) for x in normalised.dead_letters)
        for observation in normalised.observations:
            viewer = state_key(observation)
            for key in record_keys(observation):
                step = track(states.get(key), key, observation, viewers.get(viewer))
                states[key] = step.state
                if step.viewer is not None:
                    viewers[viewer] = step.viewer
                for output in step.outputs:
                    entry = (key, output.id, encode(output.record))
                    result.outputs[output.topic][entry] += 1
    result.messages = {key: encode(state) for key, state in (states | viewers).items()}
    return result

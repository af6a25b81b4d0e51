"""Generates millions of realistic states: copies of a few tracked ones with other ids."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import NamedTuple, Self

from cli.simulator.simulate import simulate
from processors.normalising.webhook_to_observations import normalise
from processors.tracking import timers
from processors.tracking.next_state import track
from processors.tracking.timers import PATIENCE
from schemas.codec import encode
from schemas.coordinates import Coordinates
from schemas.records import MessageState, Observation, record_keys
from service.wall_clock import now_ms

HOUR = 3_600_000
_SOURCE = "smsmanager"
_SEED = 7
_SIMULATED = 4000
_TEMPLATES = 256
_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class State(NamedTuple):
    """A record of `messages`: its key, its value, when its next timer is due (Unix ms)."""

    key: bytes
    value: bytes
    due: int


class Template(NamedTuple):
    """A state with its ids, which copies replace."""

    key: bytes
    value: bytes
    message_id: bytes
    request_id: bytes
    due: int

    @classmethod
    def of(cls, state: MessageState) -> Self:
        key = state.message_key.encode()
        request = (state.request_id or "").encode()
        return cls(key, encode(state), key[-36:], request, timers.due(state, PATIENCE))

    def under(self, message_id: bytes, request_id: bytes) -> State:
        """Return the same state with other ids of the same length."""
        value = self.value.replace(self.message_id, message_id)
        if self.request_id:
            value = value.replace(self.request_id, request_id)
        return State(self.key[:-36] + message_id, value, self.due)


def any_states() -> list[Template]:
    """Return states of recent messages with any status."""
    return _templates(_now(), lambda _: True)


def stalled_states() -> list[Template]:
    """Return states of messages sent more than a day ago, without a later fact."""
    return _templates(_now() - 26 * HOUR, lambda state: state.status == "sent")


def states(templates: list[Template], seed: int) -> Iterator[State]:
    """Yield states endlessly, from each template in order; a seed determines them."""
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    while True:
        for template in templates:
            yield template.under(_id(random), _id(random))


def observations(base_time_ms: int, seed: int = _SEED) -> Iterator[Observation]:
    """Yield the observations of simulated messages that begin at `base_time_ms`."""
    simulation = simulate(
        messages=_SIMULATED, base_time_ms=base_time_ms, seed=seed, sources=[_SOURCE]
    )
    for number, post in enumerate(simulation.posts):
        webhook = post.received(base_time_ms + number, f"{number}")
        yield from normalise(
            webhook, Coordinates("bluetick.raw.smsmanager", 3, number)
        ).observations


def _templates(base_time_ms: int, fits: Callable[[MessageState], bool]) -> list[Template]:
    known: dict[str, MessageState] = {}
    for observation in observations(base_time_ms):
        for key in record_keys(observation):
            known[key] = track(known.get(key), key, observation).state
    usual = (s for s in known.values() if fits(s) and _ID.fullmatch(s.message_key[-36:].encode()))
    return [Template.of(state) for state in islice(usual, _TEMPLATES)]


def _id(random: Random) -> bytes:
    digits = b"%032x" % random.getrandbits(128)
    return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _now() -> int:
    return now_ms()

"""States of realistic size by the million: what the tracker made of a few, under other ids."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import NamedTuple, Self

from cli.simulator.simulate import simulate
from processors.normalising.normalise import normalise
from processors.tracking import timers
from processors.tracking.timers import PATIENCE
from processors.tracking.track import track
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
    """A state cut at its ids: the message's, twice, and the request's between its neighbours."""

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
        """The same state with other ids of the same length."""
        value = self.value.replace(self.message_id, message_id)
        if self.request_id:
            value = value.replace(self.request_id, request_id)
        return State(self.key[:-36] + message_id, value, self.due)


def settled() -> list[Template]:
    """States of messages heard of just now, of all kinds."""
    return _templates(_now(), lambda _: True)


def stalled() -> list[Template]:
    """States of messages that were sent more than a day ago and not heard of since."""
    return _templates(_now() - 26 * HOUR, lambda state: state.status == "sent")


def states(templates: list[Template], seed: int) -> Iterator[State]:
    """States without end, in turn from each template; the same seed gives the same ones."""
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    while True:
        for template in templates:
            yield template.under(_id(random), _id(random))


def observations(base_time_ms: int, seed: int = _SEED) -> Iterator[Observation]:
    """What simulated messages that begin at a time amount to, received as it happens."""
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

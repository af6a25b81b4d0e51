"""Bodies through parser and lifecycle in memory: the records of each topic, with waits. Pure.

The result equals the records that the services publish for these bodies in this order, without
Kafka: `bluetick explain` prints it, and tests compare it. The clock has the time of the latest
reception, and a wait advances it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from processors.dead_letters.record import Headers
from processors.dead_letters.record import headers as headers_of_letter
from processors.normalising.webhook_to_observations import normalise
from processors.tracking import timers
from processors.tracking.lifecycle.viewers import outlived
from processors.tracking.next_state import track
from processors.tracking.outputs import SOURCE, Output, headers_of
from processors.tracking.timers import PATIENCE, Patience
from schemas.coordinates import Coordinates
from schemas.privacy import NO_PRIVACY, Privacy
from schemas.records import (
    MessageState,
    Observation,
    ViewerState,
    record_keys,
    state_key,
)
from schemas.webhook import RawWebhook, to_headers


class Delivery(NamedTuple):
    """One webhook; `received_at` is Unix milliseconds, None: that of the previous one."""

    provider: str
    body: bytes
    received_at: int | None = None
    headers: Mapping[str, str] = {}
    path: str = ""
    method: str = "POST"


class Wait(NamedTuple):
    """A time without deliveries, in milliseconds."""

    milliseconds: int


Step = Delivery | Wait


class Published(NamedTuple):
    """One record: its topic without the namespace, its type, key and value.

    `type` is the CloudEvents type without its common prefix, or the kind of record. `at` is the
    time of publication, Unix milliseconds; `step` is the number of the delivery or wait behind it.
    The record of a dead letter is the `DeadLetter`.
    """

    topic: str
    type: str
    key: str
    record: Any
    at: int
    step: int
    headers: Headers = ()


@dataclass
class Outcome:
    """The result of all steps: records in order, counts of ignored items, states at the end.

    `now` is the time of the clock at the end, Unix milliseconds.
    """

    now: int
    records: list[Published] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    messages: dict[str, MessageState] = field(default_factory=dict)
    viewers: dict[str, ViewerState] = field(default_factory=dict)


def run(
    steps: Iterable[Step],
    patience: Patience = PATIENCE,
    began_at: int = 0,
    *,
    stories: bool = False,
    privacy: Privacy = NO_PRIVACY,
    prefix: str = "",
) -> Outcome:
    """Take all steps in order; the clock begins at `began_at`, Unix milliseconds.

    `stories` says whether stories that contacts post are inbound messages; `privacy` is the
    policy for personal data. `prefix` precedes the names of raw topics in the records' origins: a
    namespace and a dot.
    """
    running = _Running(patience, began_at, prefix, stories=stories, privacy=privacy)
    for step in steps:
        running.take(step)
    return running.outcome


def webhook_of(delivery: Delivery, received_at: int, id_: str) -> RawWebhook:
    """Return a delivery as ingest records it; the source has the name of its provider."""
    return RawWebhook(
        id=id_,
        source=delivery.provider,
        provider=delivery.provider,
        body=delivery.body,
        received_at=received_at,
        method=delivery.method,
        path=delivery.path,
        headers=delivery.headers,
    )


class _Running:
    """The clock, and the outcome so far."""

    def __init__(
        self, patience: Patience, now: int, prefix: str, *, stories: bool, privacy: Privacy
    ) -> None:
        self.outcome = Outcome(now)
        self._prefix = prefix
        self._patience = patience
        self._stories = stories
        self._privacy = privacy
        self._step = -1

    def take(self, step: Step) -> None:
        self._step += 1
        if isinstance(step, Wait):
            self._fire(self.outcome.now + step.milliseconds)
            return
        received_at = self.outcome.now if step.received_at is None else step.received_at
        self._fire(max(self.outcome.now, received_at))
        self._receive(step, received_at)

    def _receive(self, delivery: Delivery, received_at: int) -> None:
        webhook = webhook_of(delivery, received_at, f"{self._step}")
        raw = Coordinates(f"{self._prefix}raw.{delivery.provider}", 0, self._step)
        result = normalise(webhook, raw, stories=self._stories, privacy=self._privacy)
        keeps_all = self._privacy.policy.keeps_all
        own = to_headers(webhook) if keeps_all else ()
        for letter in result.dead_letters:
            headers = headers_of_letter(letter, raw, received_at, own)
            kept = letter if keeps_all else replace(letter, value=b"")
            self._add("dead-letters", letter.code, "", kept, headers)
        self.outcome.ignored.update(result.ignored)
        for observation in result.observations:
            for key in record_keys(observation):
                self._add("observations", _kind(observation), key, observation)
                self._track(key, observation)

    def _track(self, key: str, observation: Observation) -> None:
        states, viewers = self.outcome.messages, self.outcome.viewers
        viewer = state_key(observation)
        step = track(
            states.get(key),
            key,
            observation,
            viewers.get(viewer),
            patience=self._patience,
        )
        states[key] = step.state
        if step.viewer is not None:
            viewers[viewer] = step.viewer
        self._publish(key, step.outputs)

    def _fire(self, until: int) -> None:
        """Advance the clock to `until`; fire the timers due by then, in order of time."""
        states = self.outcome.messages
        while due := min(self._due(), default=None):
            at, key = due
            if at > until:
                break
            self.outcome.now = max(self.outcome.now, at)
            fired = timers.fire(states[key], at, self._patience)
            self._publish(key, fired.outputs)
            if fired.state is None:
                del states[key]
                self._drop_viewers()
            else:
                states[key] = fired.state
        self.outcome.now = max(self.outcome.now, until)

    def _due(self) -> Iterator[tuple[int, str]]:
        for key, state in self.outcome.messages.items():
            yield timers.due(state, self._patience), key

    def _drop_viewers(self) -> None:
        states, viewers = self.outcome.messages, self.outcome.viewers
        for key, viewer in list(viewers.items()):
            if outlived(viewer, states.get(viewer.message_key)):
                del viewers[key]

    def _publish(self, key: str, outputs: Iterable[Output]) -> None:
        for output in outputs:
            kind = output.type.removeprefix("bluetick.message.")
            headers = headers_of(output, key.encode(), SOURCE)
            self._add(output.topic, kind, key, output.record, headers)

    def _add(self, topic: str, kind: str, key: str, record: Any, headers: Headers = ()) -> None:
        self.outcome.records.append(
            Published(topic, kind, key, record, self.outcome.now, self._step, headers)
        )


def _kind(observation: Observation) -> str:
    return str(observation.__struct_config__.tag)

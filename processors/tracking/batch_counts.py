"""The counts of a batch, for the metrics. Pure."""

from collections import Counter
from dataclasses import dataclass, field

from processors.tracking import standing
from processors.tracking.standing import Standing
from schemas.records import InboundObservation, MessageState, Observation, ViewerState, home_key
from service.metrics.labels import REPAIRED, REPLIED

_UNREADABLE = "not_an_observation"


@dataclass(slots=True)
class Counts:
    """The counts of a batch.

    `outcomes` has each record once, by provider ("" if unknown) and outcome. `events` has the
    events by type. `received` are the times of reception of live observations, Unix milliseconds.
    `messages` is the difference that the changed states make to the counts of messages.
    """

    outcomes: Counter[tuple[str, ...]] = field(default_factory=Counter)
    events: Counter[tuple[str, ...]] = field(default_factory=Counter)
    received: list[int] = field(default_factory=list)
    messages: Counter[Standing] = field(default_factory=Counter)

    def add_unreadable(self, *, repaired: bool) -> None:
        self.outcomes["", REPAIRED if repaired else _UNREADABLE] += 1

    def add(self, key: str, observation: Observation, outcome: str, *, repaired: bool) -> None:
        """Count a record by its outcome; one that is tracked again, or a second one, as that."""
        if repaired:
            outcome = REPAIRED
        elif isinstance(observation, InboundObservation) and key != home_key(observation):
            outcome = REPLIED
        self.outcomes[observation.provider, outcome] += 1

    def add_state(
        self, before: MessageState | ViewerState | None, after: MessageState | ViewerState | None
    ) -> None:
        """Add the difference that a changed state makes; viewers are not counted."""
        if isinstance(before, ViewerState) or isinstance(after, ViewerState):
            return
        if not standing.may_differ(before, after):
            return
        was, now = standing.of_state(before), standing.of_state(after)
        if was != now:
            for one in now:
                self.messages[one] += 1
            for one in was:
                self.messages[one] -= 1

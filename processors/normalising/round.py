"""A round of the normaliser under way: its records, what it counts, and what it has to report."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from msgspec import Struct

from processors.dead_letters.limit import Round as Counted
from processors.normalising.foreign_account_alarm import Foreign, found
from processors.normalising.round_counts import Tallies
from processors.runtime.lag import Unprocessed
from processors.runtime.raw_record import RawRecord
from processors.runtime.record_batches import Outbox, Outgoing
from providers.contract import DeadLetter, Normalised
from schemas.coordinates import Coordinates, at
from service import problem_sentences, tracing
from service.log_events import Notice, notice


class Outcome(Struct, frozen=True, gc=False):
    """The result of one body, and its records, `size` bytes in total."""

    result: Normalised
    records: Sequence[Outgoing]
    size: int


@dataclass(slots=True)
class Round:
    """A round under way; `reached` has the offsets after its bodies."""

    outbox: Outbox
    counted: Counted
    trace: tracing.Round
    tallies: Tallies = field(default_factory=Tallies)
    reached: dict[TopicPartition, Unprocessed] = field(default_factory=dict)
    bodies: int = 0
    size: int = 0
    # The topics that refuse the result of a body as too large; and bodies that met a defect.
    large: dict[Coordinates, str] = field(default_factory=dict)
    defects: dict[Coordinates, DeadLetter] = field(default_factory=dict)
    foreign: list[Foreign] = field(default_factory=list)

    @property
    def ends(self) -> dict[TopicPartition, int]:
        return {partition: known.next for partition, known in self.reached.items()}

    def add(self, raw: RawRecord, provider: str, outcome: Outcome) -> None:
        """Add the result of a body."""
        self.outbox.put(outcome.records)
        self.bodies += 1
        self.size += outcome.size
        self.tallies.count(provider, outcome.result)
        if outcome.result.dead_letters:
            self._note(raw, provider, outcome.result.dead_letters)

    def _note(self, raw: RawRecord, provider: str, letters: Sequence[DeadLetter]) -> None:
        """Record a body that met a defect, or names accounts of other sources."""
        for letter in letters:
            if letter.code == "internal_error":
                self.defects[at(raw)] = letter
        self.foreign += found(raw, provider, letters)

    def notices(self) -> dict[str, Notice]:
        """Return a notice for each alarm, by its cause: one body of each, and how many more."""
        found: dict[str, Notice] = {}
        for topic in sorted(set(self.large.values())):
            places = [place for place, one in self.large.items() if one == topic]
            fields = {"places": _first_of(places), "topic": topic}
            sentence = problem_sentences.sentence("result_too_large", fields)
            found[topic] = notice(
                "result_too_large", message=sentence, topic=topic, count=len(places)
            )
        if self.defects:
            places, (letter, *_) = list(self.defects), self.defects.values()
            sentence = (
                f"{_first_of(places)}: {letter.reason} ({_innermost(letter)}); it is kept as a "
                "dead letter internal_error"
            )
            topic, partition, offset = places[0]
            found["internal_error"] = notice(
                "body_defect",
                message=sentence,
                topic=topic,
                partition=partition,
                offset=offset,
                count=len(places),
            )
        return found


def _first_of(places: Sequence[Coordinates]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return "{}/{}/{}".format(*places[0]) + more


def _innermost(letter: DeadLetter) -> str:
    return letter.stacktrace.rpartition("\n")[2]

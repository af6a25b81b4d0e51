"""The outcome of one body in a round: its records, or after any error a dead letter."""

from functools import lru_cache
from itertools import chain

from processors.dead_letters.limit import Source
from processors.normalising.body_normaliser import Bodies
from processors.normalising.round import Outcome, Round
from processors.normalising.waiting_bodies import is_large
from processors.normalising.webhook_to_observations import dead_letter, whole
from processors.runtime.cpu_budget import Pace
from processors.runtime.raw_record import RawRecord
from processors.runtime.record_batches import Outgoing
from providers.contract import Normalised
from providers.fields import word
from providers.rejection import Refused
from schemas.coordinates import at
from schemas.webhook import source_of
from service.kafka.clock import clock
from service.tracing import Headers

# The cost limit of one body: seconds of CPU time, and bytes of its results.
_BODY_SECONDS = 0.25
_BODY_BYTES = 32 * 1024 * 1024

# Up to this number, observations become records without a pause, and stay below `_BODY_BYTES`.
_FEW = 16


class BodyOutcomes:
    """Makes the outcomes of bodies, with pauses."""

    def __init__(self, bodies: Bodies, pace: Pace) -> None:
        self._bodies = bodies
        self._pace = pace

    def source(self, raw: RawRecord) -> Source:
        """Return the source of a body."""
        provider = self._bodies.provider(raw)
        return _named(provider, source_of(raw.headers, provider))

    async def add(
        self, raw: RawRecord, source: Source, round_: Round, *, large: bool
    ) -> Outcome | None:
        """Add the outcome of a body to a round; add nothing for a large one unless `large`."""
        window = round_.counted.window(source)
        if not window.wants():
            reason = f"too many bodies of the source {source.name} were dead letters"
            outcome = self.refused(raw, Refused("source_stopped", reason))
            round_.add(raw, source.provider, outcome)
            return outcome
        try:
            result = self._bodies.begun(raw)
            if not (large or isinstance(result, Normalised)) and is_large(raw):
                return None
            context = round_.trace.take(raw)
            if not isinstance(result, Normalised):
                result = await self._pace.within(result, _BODY_SECONDS)
            if result.dead_letters or len(result.observations) > _FEW:
                outcome = await self._records(raw, result, context)
            else:
                now = clock.now()
                records = list(self._bodies.observed(raw, result.observations, now, context))
                outcome = Outcome(result, records, sum([len(one.value) for one in records]))
        except Exception as error:  # noqa: BLE001 - after any error the body is kept
            outcome = self.refused(raw, error)
        if letters := outcome.result.dead_letters:
            round_.counted.add(source, at(raw), letters[0].code)
        else:
            window.good()
        round_.add(raw, source.provider, outcome)
        return outcome

    async def _records(self, raw: RawRecord, result: Normalised, context: Headers) -> Outcome:
        """Return the records of a body; `Refused` if they exceed the limit."""
        now = clock.now()
        records: list[Outgoing] = []
        size = 0
        for record in chain(
            self._bodies.observed(raw, result.observations, now, context),
            self._bodies.kept(raw, result.dead_letters, now),
        ):
            records.append(record)
            size += record.size
            if size > _BODY_BYTES:
                raise Refused("too_costly", f"its result has more than {_BODY_BYTES} bytes")
            if self._pace.due():
                await self._pace.pause()
        return Outcome(result, records, size)

    def refused(self, raw: RawRecord, error: Exception) -> Outcome:
        """Return one dead letter for a whole body."""
        letter, now = dead_letter(error, raw.body or b""), clock.now()
        try:
            [record] = self._bodies.kept(raw, [letter], now)
        except Exception:  # noqa: BLE001 - headers that cannot be copied; the raw record has them
            [record] = self._bodies.kept(raw._replace(headers=()), [letter], now)
        return Outcome(whole(letter), [record], record.size)


@lru_cache(maxsize=1024)  # sources are few, webhooks are many
def _named(provider: str, name: str) -> Source:
    """Return a source. Its name is a header, so it may be any text; it appears in logs."""
    return Source(provider, word(name))

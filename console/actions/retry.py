"""A retry of dead letters, by their causes: what would happen, and doing it."""

from collections.abc import Collection

from console.actions.jobs import Job
from processors.dead_letters import record as deadletters
from processors.dead_letters.causes import Cause, cause_of
from processors.dead_letters.record import Kept, Ledger
from processors.normalising.accounts import UNCORRECTED
from processors.replay import dead_letter_retry
from processors.replay.dead_letter_retry import Report
from processors.runtime import log_ranges
from processors.runtime.record_batches import UnsentError
from service.errors import Problem
from service.kafka.failures import right_missing
from service.settings import Settings


async def retry(settings: Settings, causes: Collection[Cause], job: Job, *, dry: bool) -> Report:
    """Retry the open dead letters of these causes; a dry run only counts."""
    letters = await _open_letters(settings, job)
    chosen = {*causes}
    bodies = dead_letter_retry.bodies_of(
        settings.topics.raw_topics, letters, lambda entry: cause_of(entry) in chosen
    )
    job.show(0, len(bodies), "bodies")

    def advance(count: int) -> None:
        job.show(job.done + count, job.total)

    replay = None if dry else dead_letter_retry.new_id()
    try:
        return await dead_letter_retry.retry(settings, bodies, UNCORRECTED, replay, advance)
    except UnsentError as error:
        why = str(right_missing(settings, error) or error)
        raise Problem("retry_interrupted", why=why) from None


async def _open_letters(settings: Settings, job: Job) -> list[Kept]:
    """Read the topic of dead letters to its present end."""
    ledger = Ledger()
    parts = await log_ranges.everything(settings, [settings.topics.dead_letters], None)
    job.show(0, sum(span.end - span.start for span in parts), "dead letters read")
    async for batch in log_ranges.consumed(settings, parts):
        for record in batch.records:
            entry = deadletters.read(record)
            if entry is not None:
                ledger.add(entry)
        job.show(job.done + len(batch.records), job.total)
    return [kept for kept in ledger if kept.resolved is None]

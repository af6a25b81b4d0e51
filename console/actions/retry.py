"""A retry of dead letters, by their causes: what would happen, and doing it."""

from collections.abc import Collection

from cli.dead_letters.causes import Selection
from cli.dead_letters.reader import OnProgress, chosen, read_selected
from console.actions.jobs import Job
from processors.dead_letters.causes import Cause, cause_of
from processors.normalising.accounts import UNCORRECTED
from processors.replay import dead_letter_retry
from processors.replay.dead_letter_retry import Report
from processors.runtime.record_batches import UnsentError
from service.errors import Problem
from service.kafka.failures import right_missing
from service.settings import Settings


async def retry(settings: Settings, causes: Collection[Cause], job: Job, *, dry: bool) -> Report:
    """Retry the open dead letters of these causes; a dry run only counts."""
    letters = chosen(await read_selected(settings, Selection(), _reading(job)))
    wanted = {*causes}
    bodies = dead_letter_retry.bodies_of(
        settings.topics.raw_topics, letters, lambda entry: cause_of(entry) in wanted
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


def _reading(job: Job) -> OnProgress:
    return lambda done, total: job.show(done, total, "dead letters read")

"""What the pages work with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from console.access.audit import Audit
from console.actions.jobs import Jobs
from console.context import Context
from console.pages.findings import Findings
from console.pages.live import Changes
from console.read_model.queries import overview
from service.settings import Settings


@dataclass(frozen=True)
class Site:
    """The read model, the audit log, the work that pages started, and what was found on Kafka.

    `loading_problem` says why the read model is not kept up to date, "" while it is.
    """

    context: Context
    audit: Audit
    changes: Changes
    findings: Findings
    loading_problem: Callable[[], str]
    jobs: Jobs = field(default_factory=Jobs)

    @property
    def settings(self) -> Settings:
        return self.context.settings

    async def close(self) -> None:
        """End the streams and the work, and close the audit log."""
        await self.changes.close()
        await self.jobs.close()
        await self.audit.close()


def site_of(context: Context, loading_problem: Callable[[], str]) -> Site:
    """Return the site over a read model; nothing is started before a page needs it."""
    settings = context.settings

    async def position() -> object:
        return await context.run(overview.position)

    audit = Audit(settings, settings.audit_file)
    return Site(context, audit, Changes(position), Findings(settings), loading_problem)

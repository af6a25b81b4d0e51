"""Work that a page starts and watches: its progress, and its result or problem."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from console.access.roles import Person
from service.errors import Problem, described
from service.logger import logger
from service.wall_clock import now_ms

State = Literal["running", "done", "failed", "stopped"]
_KEPT = 50

log = logger(__name__)


@dataclass(slots=True)
class Job:
    """One piece of work; `result` is its own, `problem` a sentence. Times are Unix ms."""

    id: str
    kind: str
    person: str
    asked: Any
    began_at: int
    done: int = 0
    total: int | None = None
    words: str = ""
    state: State = "running"
    result: Any = None
    problem: str = ""
    ended_at: int | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def share(self) -> float | None:
        """The finished share, None if the total is not known."""
        return min(1.0, self.done / self.total) if self.total else None

    def show(self, done: int, total: int | None, words: str = "") -> None:
        """Note the progress."""
        self.done, self.total, self.words = done, total, words or self.words


class Jobs:
    """The work of one console process; the newest is kept until it restarts."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, kind: str, person: Person, asked: Any, work: Callable[[Job], Awaitable[Any]]
    ) -> Job:
        """Start some work in the background."""
        job = Job(secrets.token_hex(6), kind, person.name, asked, now_ms())
        self._jobs[job.id] = job
        for old in [one for one in self._jobs.values() if one.state != "running"][:-_KEPT]:
            del self._jobs[old.id]
        task = asyncio.create_task(_run(job, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def find(self, id_: str, kinds: tuple[str, ...]) -> Job | None:
        """Return the job of an id, if it is of one of these kinds."""
        job = self._jobs.get(id_)
        return job if job is not None and job.kind in kinds else None

    def of(self, *kinds: str) -> list[Job]:
        """Return the jobs of these kinds, the newest first."""
        return [job for job in reversed(self._jobs.values()) if job.kind in kinds]

    async def close(self) -> None:
        """Ask all work to stop, and wait for it some seconds."""
        for job in self._jobs.values():
            job.stop.set()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)


async def _run(job: Job, work: Callable[[Job], Awaitable[Any]]) -> None:
    try:
        job.result = await work(job)
        job.state = "stopped" if job.stop.is_set() else "done"
    except asyncio.CancelledError:
        job.state = "stopped"
        raise
    except Problem as problem:
        job.state, job.problem = "failed", str(problem)
    except Exception as error:  # noqa: BLE001 - the page shows it, and the log where it happened
        job.state, job.problem = "failed", f"An unexpected error: {type(error).__name__}."
        log.error("page_failed", page=job.kind, error=described(error))  # noqa: TRY400
    finally:
        job.ended_at = now_ms()

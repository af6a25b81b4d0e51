"""The asynchronous interface of a spool file: a thread writes, reads and removes the bodies.

All waiting bodies are written in one transaction, so that many requests share its syncs. A damaged
file is renamed and a new one started. The readable bodies of the damaged file are copied into the
new one.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ingest.accept_webhook import Rejected
from ingest.spool.database import FILE, MARKER, Row, SpoolFile, is_damage, readable, size_of
from ingest.spool.quota import Bounds, Held, refusal
from ingest.spool.slots import DAMAGED, JOURNAL, Slot, set_aside
from schemas.webhook import RawWebhook
from service.errors import described
from service.fsync import fsync
from service.kafka.clock import clock
from service.logger import logger
from service.wall_clock import now_ms

# Rows copied from a damaged file at a time; new bodies are written in between.
_RESCUED_ROWS = 200

# Pause of a rescue after a failure, for example on a full disk.
RESCUE_PAUSE_SECONDS = 5.0

_SALVAGED = f"{FILE}.salvaged-"

_T = TypeVar("_T")
_log = logger(__name__)


class Unusable(Exception):
    """The spool file cannot be written or read now; the text gives the reason in one sentence."""


class _Put:
    """A webhook to write, and the future that its request awaits."""

    __slots__ = ("answer", "size", "webhook")

    def __init__(self, webhook: RawWebhook, answer: asyncio.Future[None]) -> None:
        self.webhook = webhook
        self.answer = answer
        self.size = size_of(webhook)


class _Call:
    """Another action on the file."""

    __slots__ = ("action", "answer", "proves_writable")

    def __init__(
        self,
        action: Callable[[SpoolFile], Any],
        answer: asyncio.Future[Any],
        *,
        proves_writable: bool,
    ) -> None:
        self.action = action
        self.answer = answer
        self.proves_writable = proves_writable  # whether success shows that bodies can be written


class _Rescue:
    """The copying of a damaged file: its rows, and those that were read but are not written yet."""

    __slots__ = ("count", "over", "path", "read", "rows")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = readable(path)
        self.read: list[Row] = []
        self.count = 0
        self.over = False


_Done = list[tuple[asyncio.Future[Any] | None, Any, Exception | None]]


class Spool:
    """One slot of the spool. Call `start` and `close` once, on the event loop that uses it."""

    def __init__(
        self, slot: Slot, bounds: Bounds, *, max_waiting: int, max_waiting_bytes: int
    ) -> None:
        self.directory = slot.directory
        self.held = Held()
        self.set_aside = 0
        self._slot = slot
        self._bounds = bounds
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting = 0
        self._waiting_bytes = 0
        self._unusable: str | None = None
        self._closed = False
        self._filled = asyncio.Event()
        self._jobs: queue.SimpleQueue[_Put | _Call | _Rescue | None] = queue.SimpleQueue()
        self._file: SpoolFile | None = None
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)

    async def start(self) -> None:
        """Open the file and read its contents' size; raises `Unusable`."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        for path in set_aside(self.directory):
            self._begin_rescue(path)
        try:
            await self._call(lambda _: None)
        except Unusable:
            await self._call(lambda _: None)  # a damaged file has been renamed now

    def problem(self, size: int = 0) -> str | None:
        """Return why a body of this size would be refused, in one sentence; None if accepted."""
        return self._unusable or self._refusal(size)

    @property
    def unusable(self) -> str | None:
        """Why the file could not be written or read, in one sentence; None after a success."""
        return self._unusable

    def put(self, webhook: RawWebhook) -> asyncio.Future[None]:
        """Store a webhook; the future ends once it is on the disk, or with `Rejected`.

        Raises `Rejected` at once if a bound is reached. A webhook whose future is cancelled in time
        is not written.
        """
        if self._closed:
            raise Rejected("shutting-down")
        put = _Put(webhook, self._loop.create_future())
        if self._waiting >= self._max_waiting or (
            self._waiting_bytes + put.size > self._max_waiting_bytes
        ):
            raise Rejected("overloaded")
        if why := self._refusal(put.size):
            _log.error("spool_full", message=why, directory=self.directory)
            raise Rejected("not-durable")
        self._waiting += 1
        self._waiting_bytes += put.size
        self._jobs.put(put)
        return put.answer

    async def read(self, after: int, most: int) -> list[Row]:
        """Return the oldest webhooks after row `after`, about `most` bytes; raises `Unusable`."""
        return await self._call(lambda file: file.read(after, most), proves_writable=False)

    async def first_of_each(self) -> list[Row]:
        """Return the oldest webhook of each provider; raises `Unusable`."""
        return await self._call(lambda file: file.first_of_each(), proves_writable=False)

    async def remove(self, rows: Sequence[Row]) -> None:
        """Remove webhooks that Kafka has acknowledged; raises `Unusable`."""
        await self._call(lambda file: file.remove(rows), proves_writable=False)

    async def try_disk(self, size: int) -> None:
        """Test whether `size` bytes can be written now; raises `Unusable` if not."""
        await self._call(lambda file: file.try_disk(size))

    async def filled(self) -> None:
        """Wait until the spool holds a body."""
        await self._filled.wait()

    async def close(self, seconds: float) -> None:
        """Write the waiting bodies, for at most `seconds`, and release the slot."""
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, seconds)
        if not self._thread.is_alive():
            self._slot.release()

    def _refusal(self, size: int) -> str | None:
        now = clock.now()
        held = Held(self.held.bodies, self.held.bytes + self._waiting_bytes, self.held.oldest)
        return refusal(held, self._bounds, size=size, now=now)

    async def _call(self, action: Callable[[SpoolFile], _T], *, proves_writable: bool = True) -> _T:
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._jobs.put(_Call(action, answer, proves_writable=proves_writable))
        return await answer

    def _receive_report(
        self, done: _Done, freed: Sequence[int], held: Held, unusable: str | None
    ) -> None:
        """Apply a report of the thread: resolve the futures and update the state."""
        self.held = held
        self._unusable = unusable
        self._waiting -= len(freed)
        self._waiting_bytes -= sum(freed)
        if held.bodies:
            self._filled.set()
        else:
            self._filled.clear()
        for answer, result, error in done:
            if answer is None or answer.done():
                continue
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

    def _retry_rescue(self, rescue: _Rescue) -> None:
        self._loop.call_later(RESCUE_PAUSE_SECONDS, lambda: self._jobs.put(rescue))

    # The methods below run in the thread.

    def _work(self) -> None:
        running = True
        while running:
            jobs = self._next_jobs()
            running = None not in jobs
            if puts := [job for job in jobs if isinstance(job, _Put)]:
                self._write(puts)
            for job in jobs:
                if isinstance(job, _Call):
                    self._run_call(job)
                elif isinstance(job, _Rescue):
                    self._continue_rescue(job)
        if self._file:
            self._file.close()

    def _next_jobs(self) -> list[_Put | _Call | _Rescue | None]:
        """Wait for a job; returns it with all others that wait."""
        jobs = [self._jobs.get()]
        with suppress(queue.Empty):
            while True:
                jobs.append(self._jobs.get_nowait())
        return jobs

    def _write(self, puts: list[_Put]) -> None:
        """Write bodies in one transaction, then resolve their futures."""
        wanted = [put for put in puts if not put.answer.done()]
        error: Exception | None = None
        try:
            self._with_file(lambda file: file.add(put.webhook for put in wanted))
        except Unusable:
            error = Rejected("not-durable")
        sizes = [put.size for put in puts]
        self._report([(put.answer, None, error) for put in wanted], sizes)

    def _run_call(self, call: _Call) -> None:
        result, error = None, None
        try:
            result = self._with_file(call.action, proves_writable=call.proves_writable)
        except Unusable as unusable:
            error = unusable
        self._report([(call.answer, result, error)], [])

    def _report(self, done: _Done, freed: Sequence[int]) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(
                self._receive_report, done, freed, self._now_held, self._reason
            )

    _now_held = Held()
    _reason: str | None = None

    def _with_file(self, action: Callable[[SpoolFile], _T], *, proves_writable: bool = True) -> _T:
        """Run an action on the file, and open it first if necessary; raises `Unusable`.

        A full disk can still be read: only an action that `proves_writable` clears the error.
        """
        try:
            if self._file is None:
                self._file = SpoolFile(self.directory)
            result = action(self._file)
            self._now_held = self._file.held()
        except Exception as error:
            self._reason = self._handle_error(error)
            _log.error("spool_failed", message=self._reason, directory=self.directory)
            raise Unusable(self._reason) from error
        if proves_writable:
            self._reason = None
        return result

    def _handle_error(self, error: Exception) -> str:
        """Handle an error of the file; returns the sentence about it."""
        try:
            if is_damage(error):
                return self._set_aside_file(error)
        except Exception as another:  # noqa: BLE001 - the thread must continue after any error
            return f"the spool in {self.directory} failed ({described(another)})"
        return (
            f"the spool in {self.directory} cannot be written ({error}); "
            "free disk space, or set BLUETICK_SPOOL to another directory"
        )

    def _set_aside_file(self, error: Exception) -> str:
        """Rename a damaged file, so that a new one is started; returns the sentence about it."""
        if self._file:
            with suppress(sqlite3.Error):
                self._file.close()
            self._file = None
        path = self.directory / FILE
        aside = self.directory / f"{DAMAGED}{now_ms()}"
        lost = self._now_held.bodies or "an unknown number of"
        self._now_held = Held()
        self.set_aside += 1
        sentence = f"the spool file {path} is damaged ({error}), with {lost} bodies in it"
        try:
            for suffix in ("", JOURNAL):
                if Path(f"{path}{suffix}").exists():
                    Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
            (self.directory / MARKER).unlink(missing_ok=True)
            fsync(self.directory)
        except OSError as trouble:
            sentence += f", and cannot be set aside: {trouble}"
        else:
            sentence += f"; it is kept as {aside.name}"
            if aside.exists():
                self._begin_rescue(aside)
        return sentence

    def _begin_rescue(self, path: Path) -> None:
        """Start copying the readable rows of a damaged file, between other jobs."""
        self._jobs.put(_Rescue(path))

    def _continue_rescue(self, rescue: _Rescue) -> None:
        try:
            self._with_file(partial(self._copy_rescued, rescue))
        except Unusable:
            with suppress(RuntimeError):  # the event loop has ended; the next start continues
                self._loop.call_soon_threadsafe(self._retry_rescue, rescue)
        else:
            if not rescue.over:
                self._jobs.put(rescue)
        self._report([], [])

    def _copy_rescued(self, rescue: _Rescue, file: SpoolFile) -> None:
        rescue.read = rescue.read or list(islice(rescue.rows, _RESCUED_ROWS))
        if rescue.read:
            file.add(row.webhook for row in rescue.read)
            rescue.count += len(rescue.read)
            rescue.read = []
            return
        path, count = rescue.path, rescue.count
        kept = path.with_name(path.name.replace(DAMAGED, _SALVAGED))
        for suffix in ("", JOURNAL):
            with suppress(FileNotFoundError):  # an operator or SQLite has removed it
                Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
        rescue.over = True
        _log.warning("spool_rescued", file=path, bodies=count, kept=kept)

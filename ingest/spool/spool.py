"""The spool as the event loop sees it: bodies are put, read and removed by a thread of its own.

All that waits is written in one transaction, so many requests share its syncs. A file that turns
out damaged is set aside under another name and a new one begun, and what can be read of the old
one is taken over into the new.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ingest.admission import Rejected
from ingest.spool.database import FILE, MARKER, Row, SpoolFile, is_damage, readable, size_of
from ingest.spool.quota import Bounds, Held, refusal
from ingest.spool.slots import DAMAGED, JOURNAL, Place, set_aside
from schemas.webhook import RawWebhook
from service.background_tasks import described
from service.fsync import fsync
from service.kafka.clock import clock
from service.wall_clock import now_ms

# Taken over from a damaged file at a time; in between bodies are written.
_RESCUED_ROWS = 200

# After a try in vain, on a full disk say, the rescue goes on so much later.
RESCUE_PAUSE_SECONDS = 5.0

_SALVAGED = f"{FILE}.salvaged-"

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Unusable(Exception):
    """The spool's file cannot be written or read now; the text says why, in one sentence."""


class _Put:
    """A webhook on its way to the disk, and the future its request waits for."""

    __slots__ = ("answer", "size", "webhook")

    def __init__(self, webhook: RawWebhook, answer: asyncio.Future[None]) -> None:
        self.webhook = webhook
        self.answer = answer
        self.size = size_of(webhook)


class _Call:
    """Something else to be done with the file."""

    __slots__ = ("action", "answer", "proves")

    def __init__(
        self, action: Callable[[SpoolFile], Any], answer: asyncio.Future[Any], *, proves: bool
    ) -> None:
        self.action = action
        self.answer = answer
        self.proves = proves  # that bodies can be written, if it succeeds


class _Rescue:
    """A damaged file being taken over: what was read of it and is not written yet, and the rest."""

    __slots__ = ("count", "over", "path", "read", "rows")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = readable(path)
        self.read: list[Row] = []
        self.count = 0
        self.over = False


_Done = list[tuple[asyncio.Future[Any] | None, Any, Exception | None]]


class Spool:
    """One place of the spool. `start` and `close` once, on the event loop that uses it."""

    def __init__(
        self, place: Place, bounds: Bounds, *, max_waiting: int, max_waiting_bytes: int
    ) -> None:
        self.directory = place.directory
        self.held = Held()
        self.set_aside = 0
        self._place = place
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
        """Open the file, so that what it holds is known; raises `Unusable`."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        for path in set_aside(self.directory):
            self._rescue(path)
        try:
            await self._call(lambda _: None)
        except Unusable:
            await self._call(lambda _: None)  # a damaged file is out of the way now

    def problem(self, size: int = 0) -> str | None:
        """Why a body of this size would not be taken, in one sentence; None if it would."""
        return self._unusable or self._refusal(size)

    @property
    def unusable(self) -> str | None:
        """Why the file could not be written or read, in one sentence, until it is known to be."""
        return self._unusable

    def put(self, webhook: RawWebhook) -> asyncio.Future[None]:
        """Keep a webhook; the future is done once it is on the disk, or raises `Rejected`.

        Raises `Rejected` at once where a bound is reached. What is given up in time, its future
        cancelled, is not written.
        """
        if self._closed:
            raise Rejected("shutting-down")
        put = _Put(webhook, self._loop.create_future())
        if self._waiting >= self._max_waiting or (
            self._waiting_bytes + put.size > self._max_waiting_bytes
        ):
            raise Rejected("overloaded")
        if why := self._refusal(put.size):
            _log.error("%s", why)
            raise Rejected("not-durable")
        self._waiting += 1
        self._waiting_bytes += put.size
        self._jobs.put(put)
        return put.answer

    async def read(self, after: int, most: int) -> list[Row]:
        """The oldest webhooks past a place in the order of arrival; raises `Unusable`."""
        return await self._call(lambda file: file.read(after, most), proves=False)

    async def first_of_each(self) -> list[Row]:
        """The oldest webhook of each provider; raises `Unusable`."""
        return await self._call(lambda file: file.first_of_each(), proves=False)

    async def remove(self, rows: Sequence[Row]) -> None:
        """Forget webhooks that Kafka has; raises `Unusable`."""
        await self._call(lambda file: file.remove(rows), proves=False)

    async def try_disk(self, size: int) -> None:
        """Find out whether so many bytes could be written now; raises `Unusable` if not."""
        await self._call(lambda file: file.try_disk(size))

    async def filled(self) -> None:
        """Wait until the spool holds something."""
        await self._filled.wait()

    async def close(self, seconds: float) -> None:
        """Write what still waits, if the disk lets us in time, and leave the place."""
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, seconds)
        if not self._thread.is_alive():
            self._place.release()

    def _refusal(self, size: int) -> str | None:
        now = clock.now()
        held = Held(self.held.bodies, self.held.bytes + self._waiting_bytes, self.held.oldest)
        return refusal(held, self._bounds, size=size, now=now)

    async def _call(self, action: Callable[[SpoolFile], _T], *, proves: bool = True) -> _T:
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._jobs.put(_Call(action, answer, proves=proves))
        return await answer

    def _tell(self, done: _Done, freed: Sequence[int], held: Held, unusable: str | None) -> None:
        """Hear of the thread what it did."""
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

    def _later(self, rescue: _Rescue) -> None:
        self._loop.call_later(RESCUE_PAUSE_SECONDS, lambda: self._jobs.put(rescue))

    # What follows runs in the thread.

    def _work(self) -> None:
        going = True
        while going:
            jobs = self._next()
            going = None not in jobs
            if puts := [job for job in jobs if isinstance(job, _Put)]:
                self._write(puts)
            for job in jobs:
                if isinstance(job, _Call):
                    self._do(job)
                elif isinstance(job, _Rescue):
                    self._go_on(job)
        if self._file:
            self._file.close()

    def _next(self) -> list[_Put | _Call | _Rescue | None]:
        """Wait for a job, and take all that came meanwhile."""
        jobs = [self._jobs.get()]
        with suppress(queue.Empty):
            while True:
                jobs.append(self._jobs.get_nowait())
        return jobs

    def _write(self, puts: list[_Put]) -> None:
        """Answer bodies once they are on the disk, or were found not to get there."""
        wanted = [put for put in puts if not put.answer.done()]
        error: Exception | None = None
        try:
            self._with_file(lambda file: file.add(put.webhook for put in wanted))
        except Unusable:
            error = Rejected("not-durable")
        sizes = [put.size for put in puts]
        self._report([(put.answer, None, error) for put in wanted], sizes)

    def _do(self, call: _Call) -> None:
        result, error = None, None
        try:
            result = self._with_file(call.action, proves=call.proves)
        except Unusable as unusable:
            error = unusable
        self._report([(call.answer, result, error)], [])

    def _report(self, done: _Done, freed: Sequence[int]) -> None:
        with suppress(RuntimeError):  # the loop did not wait for us
            self._loop.call_soon_threadsafe(self._tell, done, freed, self._now_held, self._reason)

    _now_held = Held()
    _reason: str | None = None

    def _with_file(self, action: Callable[[SpoolFile], _T], *, proves: bool = True) -> _T:
        """Do something with the file, opened if need be; raises `Unusable`.

        A full disk can still be read: only what `proves` that it takes bodies ends the trouble.
        """
        try:
            if self._file is None:
                self._file = SpoolFile(self.directory)
            result = action(self._file)
            self._now_held = self._file.held()
        except Exception as error:
            self._reason = self._met(error)
            _log.error("%s", self._reason)
            raise Unusable(self._reason) from error
        if proves:
            self._reason = None
        return result

    def _met(self, error: Exception) -> str:
        """Do what an error calls for; returns the sentence about it."""
        try:
            if is_damage(error):
                return self._put_away(error)
        except Exception as another:  # noqa: BLE001 - the thread must go on, whatever it is
            return f"the spool in {self.directory} failed ({described(another)})"
        return (
            f"the spool in {self.directory} cannot be written ({error}); "
            "make room on its disk, or name another one with BLUETICK_SPOOL"
        )

    def _put_away(self, error: Exception) -> str:
        """Set a damaged file aside, for a new one to be begun; returns the sentence about it."""
        if self._file:
            with suppress(sqlite3.Error):
                self._file.close()
            self._file = None
        path = self.directory / FILE
        aside = self.directory / f"{DAMAGED}{now_ms()}"
        lost = self._now_held.bodies or "an unknown number of"
        self._now_held = Held()
        self.set_aside += 1
        told = f"the spool file {path} is damaged ({error}), with {lost} bodies in it"
        try:
            for suffix in ("", JOURNAL):
                if Path(f"{path}{suffix}").exists():
                    Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
            (self.directory / MARKER).unlink(missing_ok=True)
            fsync(self.directory)
        except OSError as trouble:
            told += f", and cannot be set aside: {trouble}"
        else:
            told += f"; it is kept as {aside.name}"
            if aside.exists():
                self._rescue(aside)
        return told

    def _rescue(self, path: Path) -> None:
        """From now on, between other work, take over what can be read of a damaged file."""
        self._jobs.put(_Rescue(path))

    def _go_on(self, rescue: _Rescue) -> None:
        try:
            self._with_file(partial(self._take_over, rescue))
        except Unusable:
            with suppress(RuntimeError):  # the loop did not wait for us; the next start goes on
                self._loop.call_soon_threadsafe(self._later, rescue)
        else:
            if not rescue.over:
                self._jobs.put(rescue)
        self._report([], [])

    def _take_over(self, rescue: _Rescue, file: SpoolFile) -> None:
        rescue.read = rescue.read or list(islice(rescue.rows, _RESCUED_ROWS))
        if rescue.read:
            file.add(row.webhook for row in rescue.read)
            rescue.count += len(rescue.read)
            rescue.read = []
            return
        path, count = rescue.path, rescue.count
        kept = path.with_name(path.name.replace(DAMAGED, _SALVAGED))
        for suffix in ("", JOURNAL):
            with suppress(FileNotFoundError):  # somebody took it away, or SQLite removed it
                Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
        rescue.over = True
        _log.warning("%s: %d bodies could be read and go on; it is kept as %s", path, count, kept)

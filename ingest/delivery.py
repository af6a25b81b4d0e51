"""Durable delivery: a webhook goes to Kafka, else to the spool, and the spool drains to Kafka.

A body that Kafka does not acknowledge in time goes to the spool. While Kafka acknowledges nothing,
bodies go to the spool at once, and only the drain attempts to send, with one body for each topic. A
spooled body may have reached Kafka as well: Kafka then has it twice, with the same `ce_id`, and the
tracker drops the repetition.
"""

import asyncio
import shutil
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from ingest.accept_webhook import Rejected
from ingest.health import Health, Spooled, judged, spooled
from ingest.publishing.publisher import Publisher
from ingest.spool import retry_schedule, slots
from ingest.spool.drainer import PAUSE_SECONDS, Drain
from ingest.spool.notices import Spooling
from ingest.spool.quota import Bounds, Held
from ingest.spool.retry_schedule import GivenUp
from ingest.spool.slots import Slot
from ingest.spool.spool import Spool, Unusable
from schemas.webhook import RawWebhook
from service.background_tasks import lasting
from service.errors import Problem, described
from service.kafka.clock import clock
from service.log_events import Notice
from service.logger import logger
from service.settings import Settings
from service.wall_clock import now_ms

Where = Literal["kafka", "spool"]

# Longest wait for the spool after the deadline of Kafka. A disk may be slow while Kafka fails, and
# a provider may not repeat after a 503. They wait 5 s for the answer (decision 10).
SPOOL_SECONDS = 2.0

# Interval of the search for slots that dead processes left.
ADOPT_SECONDS = 5.0

# Interval of the disk test after a failed write: an unready ingest may receive no body to write.
DISK_TEST_SECONDS = 5.0

# At the end: for the window that the drain is sending, and for the bodies still to be written.
_LAST_WINDOW_SECONDS = 0.5
_LAST_WRITE_SECONDS = 1.0

_log = logger(__name__)


class Durable:
    """Makes webhooks durable. Call `start` and `stop` once, on the event loop that publishes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seconds = settings.publish_deadline + SPOOL_SECONDS
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = asyncio.Event()
        self._given_up: dict[str, GivenUp] = {}
        self._spooling = Spooling()
        self._late = (
            f"Kafka did not acknowledge within {settings.publish_deadline:g} s "
            "(BLUETICK_PUBLISH_DEADLINE)"
        )
        self.publisher = Publisher(settings)
        self.spool: Spool | None = None

    @property
    def problem(self) -> str | None:
        """Why webhooks cannot be made durable now, in one sentence; None while they can."""
        kafka = self.publisher.problem
        if kafka is None or self.spool is None:
            return kafka
        spool = self.spool.problem(self._settings.max_body)
        return spool and f"{kafka}; {spool}"

    @property
    def health(self) -> Health:
        """Whether webhooks can be made durable, and whether only the spool makes them so."""
        return judged(self.problem, self.publisher.failure or self._spooling.why, self._spool_use())

    @property
    def held(self) -> Held:
        """The contents of this process's slot; empty without a spool."""
        return self.spool.held if self.spool else Held()

    @property
    def given_up(self) -> int:
        """The number of slots of dead processes whose bodies could not be sent so far."""
        return len(self._given_up)

    def free_bytes(self) -> int:
        """Return the free space of the spool's disk; 0 without a spool, or if it is unknown."""
        if self.spool is None:
            return 0
        with suppress(OSError):
            return shutil.disk_usage(self.spool.directory).free
        return 0

    def log_spool_use(self) -> None:
        """Log how full the spool is and why it is in use; called periodically."""
        if not (fill := self._spool_use()):
            return
        for warning in self._spooling.filled(fill):
            _log.warning(warning.event, **warning.fields)
        failure = self.publisher.failure
        if self._spooling.why and failure:
            self._log_spooling(failure)
        elif not (failure or fill.bodies or self.publisher.unavailable):
            self._log_info(self._spooling.unused())

    async def start(self) -> None:
        """Open the spool and connect, or raise `Problem`.

        With a spool, Kafka may be unavailable and topics may be missing.
        """
        if self._settings.spool is None:
            await self.publisher.start()
            return
        self.spool = await open_spool(self._settings, _acquire(self._settings.spool))
        try:
            await self.publisher.start(patient=True)
        except BaseException:
            await self.spool.close(_LAST_WRITE_SECONDS)
            raise
        if failure := self.publisher.failure:
            self._log_spooling(failure)
        self._tasks = [
            lasting("the drain", partial(self._drain, self.spool)),
            lasting(
                "the drain of other slots",
                partial(self._drain_other_slots, self._settings.spool, self.spool),
            ),
            lasting("the test of the disk", partial(self._test_disk, self.spool)),
        ]

    def close(self, seconds: float) -> None:
        """Refuse new webhooks; those that wait for Kafka have at most `seconds` left."""
        self._closing.set()
        self.publisher.close(seconds)

    async def stop(self) -> None:
        """Disconnect from Kafka, then close the spool, within a few seconds."""
        self._closing.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_LAST_WINDOW_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.publisher.stop()
        if self.spool:
            await self.spool.close(_LAST_WRITE_SECONDS)

    def begin(self, webhook: RawWebhook) -> asyncio.Future[None] | None:
        """Send a webhook to Kafka; None if only `publish` can make it durable.

        Raises `Rejected` if too many are in flight. If the future ends with `Rejected`, `rescue`
        must follow.
        """
        if self._closing.is_set() or webhook.uptime is not None or self.publisher.unavailable:
            return None
        return self.publisher.publish(webhook)

    async def rescue(self, webhook: RawWebhook, refused: Rejected, waited: float) -> Where:
        """Store a webhook in the spool that Kafka has refused, or raise `Rejected`.

        `waited` are the seconds since `begin`.
        """
        if self.spool is None or refused.cause != "not-durable":
            raise refused
        until = asyncio.get_running_loop().time() + self._seconds - waited
        return await self._store(self.spool, webhook, until)

    async def publish(self, webhook: RawWebhook) -> Where:
        """Make a webhook durable; returns where it is stored, or raises `Rejected`."""
        spool = self.spool
        unavailable = self.publisher.unavailable
        if webhook.uptime is not None and not unavailable:
            [webhook] = await self.publisher.with_kafka_time([webhook])
            unavailable = not clock.decided  # the spool keeps the uptime of its reception
        if spool is None:
            await self.publisher.publish(webhook)
            return "kafka"
        if self._closing.is_set():
            raise Rejected("shutting-down")
        until = asyncio.get_running_loop().time() + self._seconds
        if not (unavailable and spool.problem(len(webhook.body)) is None):
            try:
                await self.publisher.publish(webhook)
            except Rejected as rejected:
                if rejected.cause != "not-durable":
                    raise
            else:
                return "kafka"
        return await self._store(spool, webhook, until)

    async def _store(self, spool: Spool, webhook: RawWebhook, until: float) -> Where:
        """Write a webhook to the spool until this time of the event loop, or raise `Rejected`."""
        written = spool.put(webhook)
        self._log_spooling(self.publisher.failure or self._late)
        try:
            async with asyncio.timeout_at(until):
                await written
        except TimeoutError:
            raise Rejected("not-durable") from None
        return "spool"

    def _log_spooling(self, why: str) -> None:
        if line := self._spooling.stored(why):
            _log.warning(line.event, **line.fields)

    @staticmethod
    def _log_info(line: Notice | None) -> None:
        if line:
            _log.info(line.event, **line.fields)

    def _spool_use(self) -> Spooled | None:
        now = now_ms()
        return spooled(self.spool.held, _bounds(self._settings), now) if self.spool else None

    async def _drain(self, spool: Spool) -> None:
        """Send the bodies of this process's slot whenever it holds some."""
        while not self._closing.is_set():
            await self._wait_unless_closing(spool.filled())
            await self._drain_all(spool, Drain(self.publisher, spool))

    async def _test_disk(self, spool: Spool) -> None:
        """Test the disk after a failed write, until it accepts the largest body."""
        while not self._closing.is_set():
            if spool.unusable:
                with suppress(Unusable):
                    await spool.try_disk(self._settings.max_body)
            await self._wait_unless_closing(asyncio.sleep(DISK_TEST_SECONDS))

    async def _drain_other_slots(self, directory: Path, own: Spool) -> None:
        """Send the bodies in slots of dead processes.

        Only `_drain` sends while Kafka acknowledges nothing and this process's slot holds bodies.
        """
        while not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(ADOPT_SECONDS):
                    await self._closing.wait()
            if not (self.publisher.unavailable and own.held.bodies):
                await self._try_slots(directory)

    async def _try_slots(self, directory: Path) -> None:
        """Try once to drain each slot that is due."""
        try:
            holding = await asyncio.to_thread(slots.holding, directory)
        except OSError as error:
            _log.error("spool_not_listed", directory=directory, reason=error.strerror)
            return
        self._given_up = {name: one for name, one in self._given_up.items() if name in holding}
        for name in retry_schedule.due(holding, self._given_up, asyncio.get_running_loop().time()):
            if self._closing.is_set():
                return
            try:
                if slot := await asyncio.to_thread(slots.take_over, directory / name):
                    await self._drain_slot(slot)
            except OSError as error:
                why = error.strerror or described(error)
                self._give_up(
                    name, 0, f"the bodies in {directory / name} cannot be reached ({why})"
                )
            except Exception as error:  # noqa: BLE001 - one slot must not delay the others
                why = f"{directory / name} cannot be emptied ({described(error)})"
                self._give_up(name, 0, why)

    async def _drain_slot(self, slot: Slot) -> None:
        name = slot.directory.name
        before = self._given_up.get(name)
        if before is None:
            _log.warning("slot_found", directory=slot.directory)
        try:
            left = await open_spool(self._settings, slot)
        except Problem as problem:
            self._give_up(name, 0, str(problem))
            return
        drain = Drain(self.publisher, left, before.after if before else 0)
        try:
            emptied = await self._drain_all(left, drain, patient=False)
        finally:
            await left.close(_LAST_WRITE_SECONDS)
        if emptied:
            self._given_up.pop(name, None)
        elif drain.in_vain:
            kafka = f"Kafka accepts none of the {left.held.bodies} bodies in {slot.directory}"
            self._give_up(name, drain.after, left.unusable or kafka)

    def _give_up(self, name: str, after: int, why: str) -> None:
        self._given_up[name] = GivenUp(asyncio.get_running_loop().time(), after)
        _log.error("slot_kept", reason=why, seconds=retry_schedule.SKIP_SECONDS)

    async def _drain_all(self, spool: Spool, drain: Drain, *, patient: bool = True) -> bool:
        """Send all bodies of a spool; returns whether it is empty.

        Ends early when ingest stops or, unless `patient`, when the drain gives up.
        """
        while spool.held.bodies and not self._closing.is_set():
            forward = 0
            with suppress(Unusable):
                forward = await drain.forward()
            if forward and spool is self.spool:
                self._log_info(self._spooling.acknowledged(spool.held))
            if drain.in_vain and not patient:
                break
            if not forward:
                await self._wait_unless_closing(asyncio.sleep(PAUSE_SECONDS))
        return not spool.held.bodies

    async def _wait_unless_closing(self, wait: Awaitable[object]) -> None:
        """Await `wait`, but only until ingest stops."""
        waits = [asyncio.ensure_future(wait), asyncio.ensure_future(self._closing.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()


async def open_spool(settings: Settings, slot: Slot) -> Spool:
    """Open the spool in a slot; the spool releases the slot when it closes. Raises `Problem`."""
    spool = Spool(
        slot,
        _bounds(settings),
        max_waiting=settings.max_in_flight,
        max_waiting_bytes=settings.max_in_flight_bytes,
    )
    try:
        await spool.start()
    except Unusable as error:
        await spool.close(_LAST_WRITE_SECONDS)
        raise Problem("spool_unusable", why=str(error)) from error
    except BaseException:
        await spool.close(_LAST_WRITE_SECONDS)
        raise
    return spool


def _bounds(settings: Settings) -> Bounds:
    return Bounds(settings.spool_max_bytes, settings.spool_max_age)


def _acquire(directory: Path) -> Slot:
    try:
        return slots.acquire(directory)
    except OSError as error:
        raise Problem(
            "spool_not_writable", directory=str(directory), why=error.strerror, file=error.filename
        ) from error

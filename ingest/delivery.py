"""Where a webhook is durable: on Kafka, else in the spool; and how the spool gets to Kafka.

Kafka is tried first. What it does not acknowledge in time goes to the spool, and while it
acknowledges nothing at all, bodies go to the spool at once: then only the drain tries it, with one
body for each topic. A body that was spooled may have reached Kafka all the same: it is there twice
then, with the same `ce_id`, and the tracker drops the repetition.
"""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from ingest.admission import Rejected
from ingest.health import Health, Spooled, judged, spooled
from ingest.publishing.publisher import Publisher
from ingest.spool import retry_schedule, slots
from ingest.spool.drainer import PAUSE_SECONDS, Drain
from ingest.spool.notices import Spooling
from ingest.spool.quota import Bounds, Held
from ingest.spool.retry_schedule import GivenUp
from ingest.spool.slots import Place
from ingest.spool.spool import Spool, Unusable
from schemas.webhook import RawWebhook
from service.background_tasks import described, lasting
from service.errors import Problem
from service.kafka.clock import clock
from service.settings import Settings
from service.wall_clock import now_ms

Where = Literal["kafka", "spool"]

# What the spool may take after Kafka had its time: together they answer within 2 s.
SPOOL_SECONDS = 0.4

# Places that the dead left are looked for so often.
ADOPT_SECONDS = 5.0

# A spool that could not be written is tried so often: unready, it may get no body to try it with.
TRY_SECONDS = 5.0

# At the end: for the window that the drain has under way, and for what the disk still has to write.
_LAST_WINDOW_SECONDS = 0.5
_LAST_WRITE_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Durable:
    """Makes webhooks durable. `start` and `stop` once, on the event loop that also publishes."""

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
        """Why webhooks cannot be made durable now, in a sentence; None while they can."""
        kafka = self.publisher.problem
        if kafka is None or self.spool is None:
            return kafka
        spool = self.spool.problem(self._settings.max_body)
        return spool and f"{kafka}; {spool}"

    @property
    def health(self) -> Health:
        """Whether webhooks can be made durable, and whether that takes the spool."""
        return judged(self.problem, self.publisher.trouble or self._spooling.why, self._fill())

    @property
    def held(self) -> Held:
        """What the spool holds, in this process's place; nothing without a spool."""
        return self.spool.held if self.spool else Held()

    @property
    def given_up(self) -> int:
        """How many places that the dead left hold bodies and could not be emptied so far."""
        return len(self._given_up)

    def look(self) -> None:
        """Warn of a spool that fills, and say why it is in use still; called now and then."""
        if not (fill := self._fill()):
            return
        for warning in self._spooling.filled(fill):
            _log.warning("%s", warning)
        trouble = self.publisher.trouble
        if self._spooling.why and trouble:
            self._note_spooling(trouble)
        elif not (trouble or fill.bodies or self.publisher.away):
            self._note(self._spooling.unused())

    async def start(self) -> None:
        """Open the spool and connect, or raise `Problem`.

        With a spool Kafka may be away, and topics may be missing.
        """
        if self._settings.spool is None:
            await self.publisher.start()
            return
        self.spool = await open_spool(self._settings, _take(self._settings.spool))
        try:
            await self.publisher.start(patient=True)
        except BaseException:
            await self.spool.close(_LAST_WRITE_SECONDS)
            raise
        if trouble := self.publisher.trouble:
            self._note_spooling(trouble)
        self._tasks = [
            lasting("the drain", partial(self._drain, self.spool)),
            lasting("adoption", partial(self._adopt, self._settings.spool, self.spool)),
            lasting("the trial", partial(self._try, self.spool)),
        ]

    def close(self, seconds: float) -> None:
        """Take nothing more from now on; what waits for Kafka has at most so many seconds left."""
        self._closing.set()
        self.publisher.close(seconds)

    async def stop(self) -> None:
        """Leave Kafka, then the spool; bounded to a few seconds."""
        self._closing.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_LAST_WINDOW_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.publisher.stop()
        if self.spool:
            await self.spool.close(_LAST_WRITE_SECONDS)

    async def publish(self, webhook: RawWebhook) -> Where:
        """Say where the webhook is durable now, or raise `Rejected`."""
        spool = self.spool
        away = self.publisher.away
        if webhook.uptime is not None and not away:
            [webhook] = await self.publisher.by_kafkas_clock([webhook])
            away = not clock.decided  # the spool keeps what tells when it was received
        if spool is None:
            await self.publisher.publish(webhook)
            return "kafka"
        if self._closing.is_set():
            raise Rejected("shutting-down")
        until = asyncio.get_running_loop().time() + self._seconds
        if not (away and spool.problem(len(webhook.body)) is None):
            try:
                await self.publisher.publish(webhook)
            except Rejected as rejected:
                if rejected.cause != "not-durable":
                    raise
            else:
                return "kafka"
        written = spool.put(webhook)
        self._note_spooling(self.publisher.trouble or self._late)
        try:
            async with asyncio.timeout_at(until):
                await written
        except TimeoutError:
            raise Rejected("not-durable") from None
        return "spool"

    def _note_spooling(self, why: str) -> None:
        if line := self._spooling.stored(why):
            _log.warning("%s", line)

    @staticmethod
    def _note(line: str | None) -> None:
        if line:
            _log.info("%s", line)

    def _fill(self) -> Spooled | None:
        now = now_ms()
        return spooled(self.spool.held, _bounds(self._settings), now) if self.spool else None

    async def _drain(self, spool: Spool) -> None:
        """Send what is in our place whenever there is something."""
        while not self._closing.is_set():
            await self._unless_closing(spool.filled())
            await self._emptied(spool, Drain(self.publisher, spool))

    async def _try(self, spool: Spool) -> None:
        """Find out when the disk takes bodies again, the largest as well."""
        while not self._closing.is_set():
            if spool.unusable:
                with suppress(Unusable):
                    await spool.try_disk(self._settings.max_body)
            await self._unless_closing(asyncio.sleep(TRY_SECONDS))

    async def _adopt(self, directory: Path, own: Spool) -> None:
        """Send what the dead left in their places, while Kafka takes it or nobody else asks it."""
        while not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(ADOPT_SECONDS):
                    await self._closing.wait()
            if not (self.publisher.away and own.held.bodies):
                await self._give_turns(directory)

    async def _give_turns(self, directory: Path) -> None:
        """Try each place whose turn it is once."""
        try:
            holding = await asyncio.to_thread(slots.holding, directory)
        except OSError as error:
            why = error.strerror
            _log.error(
                "the spool %s cannot be listed (%s); what the dead left stays", directory, why
            )
            return
        self._given_up = {name: one for name, one in self._given_up.items() if name in holding}
        for name in retry_schedule.due(holding, self._given_up, asyncio.get_running_loop().time()):
            if self._closing.is_set():
                return
            try:
                if place := await asyncio.to_thread(slots.take_over, directory / name):
                    await self._empty_place(place)
            except OSError as error:
                why = error.strerror or described(error)
                self._give_up(
                    name, 0, f"the bodies in {directory / name} cannot be reached ({why})"
                )
            except Exception as error:  # noqa: BLE001 - one place must not hold up the others
                why = f"{directory / name} cannot be emptied ({described(error)})"
                self._give_up(name, 0, why)

    async def _empty_place(self, place: Place) -> None:
        name = place.directory.name
        before = self._given_up.get(name)
        if before is None:
            _log.warning("%s was left behind with bodies in it; they go to Kafka", place.directory)
        try:
            left = await open_spool(self._settings, place)
        except Problem as problem:
            self._give_up(name, 0, str(problem))
            return
        drain = Drain(self.publisher, left, before.after if before else 0)
        try:
            emptied = await self._emptied(left, drain, patient=False)
        finally:
            await left.close(_LAST_WRITE_SECONDS)
        if emptied:
            self._given_up.pop(name, None)
        elif drain.in_vain:
            kafka = f"Kafka takes none of the {left.held.bodies} bodies in {place.directory}"
            self._give_up(name, drain.after, left.unusable or kafka)

    def _give_up(self, name: str, after: int, why: str) -> None:
        self._given_up[name] = GivenUp(asyncio.get_running_loop().time(), after)
        _log.error(
            "%s; they stay there, and are tried again in %g s", why, retry_schedule.SKIP_SECONDS
        )

    async def _emptied(self, spool: Spool, drain: Drain, *, patient: bool = True) -> bool:
        """Send all that a spool holds; False if we are to stop before, or if it is in vain.

        If `patient`, nothing is in vain.
        """
        while spool.held.bodies and not self._closing.is_set():
            forward = 0
            with suppress(Unusable):
                forward = await drain.forward()
            if forward and spool is self.spool:
                self._note(self._spooling.acknowledged(spool.held))
            if drain.in_vain and not patient:
                break
            if not forward:
                await self._unless_closing(asyncio.sleep(PAUSE_SECONDS))
        return not spool.held.bodies

    async def _unless_closing(self, wait: Awaitable[object]) -> None:
        """Wait for something, but no longer than until we are to stop."""
        waits = [asyncio.ensure_future(wait), asyncio.ensure_future(self._closing.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()


async def open_spool(settings: Settings, place: Place) -> Spool:
    """Open the spool in a place, which goes with it; raises `Problem`."""
    spool = Spool(
        place,
        _bounds(settings),
        max_waiting=settings.max_in_flight,
        max_waiting_bytes=settings.max_in_flight_bytes,
    )
    try:
        await spool.start()
    except Unusable as error:
        await spool.close(_LAST_WRITE_SECONDS)
        raise Problem(str(error)) from error
    except BaseException:
        await spool.close(_LAST_WRITE_SECONDS)
        raise
    return spool


def _bounds(settings: Settings) -> Bounds:
    return Bounds(settings.spool_max_bytes, settings.spool_max_age)


def _take(directory: Path) -> Place:
    try:
        return slots.take(directory)
    except OSError as error:
        raise Problem(
            f"the spool {directory} (BLUETICK_SPOOL) cannot be used: {error.strerror}: "
            f"{error.filename}; make it writable, or name another directory"
        ) from error

"""Observations for schedules: a few messages, whose facts repeat, contradict, come late."""

from random import Random

from schemas.codec import encode
from schemas.records import Observation, RawOrigin, Status, message_key, record_keys
from schemas.topics import STATE_TTL_DAYS
from tests.simulation.model import Item
from tests.unit.messages import reply, seen

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# What was received is on the log within so long; timers wait for more than that.
DISORDER = 30 * SECOND

_STATUSES: tuple[Status, ...] = (
    *("queued", "queued", "sending", "sent", "sent", "delivered", "read"),
    *("failed", "undelivered", "expired", "rejected", "unknown", "deleted"),
)


# A message's content becomes known better, or is corrected by its sender.
_WORDS: tuple[dict[str, str], ...] = ({}, {"text": "a"}, {"text": "b"}, {"link": "x"})


class Lives:
    """Makes observations up, each received a moment before it is put on the log."""

    def __init__(self, rng: Random, now: int) -> None:
        self._rng = rng
        self._began = now
        self._count = 0
        self._messages = [f"m{number}" for number in range(rng.randint(1, 4))]
        self._told: list[Observation] = []

    def next(self, now: int) -> list[Item]:
        """One more observation, as the records of it: a reply may be two."""
        one = self._again(now) or self._new(now)
        self._told.append(one)
        return [Item(key.encode(), encode(one), now) for key in record_keys(one)]

    def _again(self, now: int) -> Observation | None:
        """The very same once more, unless its message may have reached the end of its life."""
        if (
            self._told
            and now < self._began + (STATE_TTL_DAYS - 1) * DAY
            and self._rng.random() < 0.2
        ):
            return self._rng.choice(self._told)
        return None

    def _new(self, now: int) -> Observation:
        rng = self._rng
        self._count += 1
        name = rng.choice(self._messages)
        received = now - rng.randrange(DISORDER)
        key = message_key("smsmanager", None, name)
        if rng.random() < 0.12:
            identity = rng.choice(["r1", "r2", "r3"])
            id_ = None if identity == "r1" else identity
            content = {"type": rng.choice(["unknown", "image"]), **rng.choice(_WORDS)}
            return reply(
                received,
                identity,
                in_reply_to=key,
                message_id=id_,
                raw=self._raw(),
                content=content,
            )
        return seen(
            rng.choice(_STATUSES),
            rng.choice([None, received, received - rng.randrange(1, 100) * SECOND]),
            rng.choice(["sms", "sms", "viber"]),
            message_key=key,
            message_id=name,
            received_at=received,
            raw=self._raw(),
            viewer="v" if rng.random() < 0.06 else None,
            replay="r" if rng.random() < 0.03 else None,
            catch_up=rng.random() < 0.03,
        )

    def _raw(self) -> RawOrigin:
        return RawOrigin("raw", 0, self._count, 0)

"""Observations for schedules: a few messages with facts that repeat, contradict or come late."""

from random import Random

from schemas.codec import encode
from schemas.records import Observation, RawOrigin, Status, message_key, record_keys
from schemas.topics import STATE_TTL_DAYS
from tests.simulation.kafka_model import Item
from tests.unit.messages import reply, seen

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# The longest time from receipt to the log; timers wait longer than that.
DISORDER = 30 * SECOND

_STATUSES: tuple[Status, ...] = (
    *("queued", "queued", "sending", "sent", "sent", "delivered", "read"),
    *("failed", "undelivered", "expired", "rejected", "unknown", "deleted"),
)


# The content of a message becomes better known, or its sender corrects it.
_WORDS: tuple[dict[str, str], ...] = ({}, {"text": "a"}, {"text": "b"}, {"link": "x"})


class ObservationSource:
    """Invents observations, each received a moment before it is appended to the log."""

    def __init__(self, rng: Random, now: int) -> None:
        self._rng = rng
        self._began = now
        self._count = 0
        self._messages = [f"m{number}" for number in range(rng.randint(1, 4))]
        self._earlier: list[Observation] = []

    def next(self, now: int) -> list[Item]:
        """Return the records of one more observation: a reply may have two."""
        one = self._repeated(now) or self._new(now)
        self._earlier.append(one)
        return [Item(key.encode(), encode(one), now) for key in record_keys(one)]

    def _repeated(self, now: int) -> Observation | None:
        """Return an earlier observation again, unless its message may have expired."""
        if (
            self._earlier
            and now < self._began + (STATE_TTL_DAYS - 1) * DAY
            and self._rng.random() < 0.2
        ):
            return self._rng.choice(self._earlier)
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

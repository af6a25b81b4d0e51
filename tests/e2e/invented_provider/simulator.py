"""The invented provider's simulated traffic. Pure."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar, NamedTuple

from providers.simulation import (
    ABSENT,
    Flaw,
    Item,
    Journey,
    Malformed,
    Noise,
    Request,
    Simulator,
    Step,
    journey,
    number,
    uuid,
)
from schemas.records import Status

_CORRECT = {"flight": "f", "loft": "attic", "state": "landed", "at": 1700000000}


class Flight(NamedTuple):
    """A message by pigeon."""

    serial: int
    id: str
    account: str
    recipient: str


class _Invented(Simulator[Flight, None]):
    journeys = (
        journey(6, "pigeon launched, pigeon landed", "delivered"),
        journey(2, "pigeon launched", "sent"),
        journey(2, "pigeon launched, pigeon lost", "failed"),
        journey(1, "pigeon launched, pigeon lost, pigeon landed", "delivered", "pigeon failed"),
        journey(1, "pigeon launched, pigeon circling", "sent"),
    )
    meaning: ClassVar[Mapping[str, Status]] = {
        "launched": "sent",
        "landed": "delivered",
        "lost": "failed",
    }

    def message(self, random: Random, serial: int, journey: Journey) -> Flight:
        del journey
        return Flight(serial, uuid(random), random.choice(("attic", "barn")), number(random))

    def item(
        self, random: Random, message: Flight, step: Step, at: int, viewer: str | None
    ) -> Item[None]:
        del random, viewer
        return Item(None, _report(message, step.word, at))

    def body(self, random: Random, batch: None, items: Sequence[bytes]) -> bytes:
        del random, batch
        return b"[" + b",".join(items) + b"]"

    def request(self, random: Random, batch: None, body: bytes) -> Request:
        del random, batch
        return Request(body, path="/flights", headers={"user-agent": "Pigeon/1"})

    def noise(self, random: Random, message: Flight, at: int) -> Noise[None] | None:
        if random.randrange(5):
            return None
        return Noise(Item(None, _report(message, "feeding", at)), "feeding")

    def malformed(self, batch: None) -> Malformed:
        del batch
        flaws = (Flaw("flight", ABSENT, "missing_field"), Flaw("state", 7, "wrong_type"))
        return Malformed(_CORRECT, flaws)


SIMULATOR = _Invented()


def _report(message: Flight, state: str, at: int) -> dict[str, object]:
    return {
        "flight": message.id,
        "loft": message.account,
        "state": state,
        "at": at,
        "to": message.recipient,
    }

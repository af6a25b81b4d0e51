"""SmsManager's simulated traffic. Pure.

Sources: the vendor's OpenAPI document (jsonapi_v2) and guides/webhooks. In a journey a step reads
`<gateway> <word>`; `reply` and `inbound` are messages by a person.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar, NamedTuple

from providers.simulation import (
    ABSENT,
    BY_A_PERSON,
    OWN_NUMBER,
    Flaw,
    Item,
    Journey,
    JsonObject,
    Malformed,
    Request,
    Simulator,
    Step,
    journey,
    number,
    uuid,
)
from schemas.records import Status

_JOURNEYS = (
    journey(30, "sms sent, sms delivered", "delivered"),
    journey(12, "sms sending, sms sent, sms delivered", "delivered"),
    journey(6, "sms sent", "sent"),  # some carriers send no receipts: this is the last event
    journey(2, "sms sending", "sending"),
    journey(8, "viber sent, viber delivered, viber seen", "read"),
    journey(
        5, "whatsapp_template sent, whatsapp_template delivered, whatsapp_template seen", "read"
    ),
    journey(3, "whatsapp_text sending, whatsapp_text sent, whatsapp_text delivered", "delivered"),
    journey(2, "whatsapp sent, whatsapp seen", "read"),  # `seen` implies the missing `delivered`
    journey(2, "rcs sent, rcs delivered", "delivered"),
    journey(4, "sms sent, sms undelivered", "undelivered"),
    journey(2, "sms sending, sms failed", "failed"),
    journey(3, "sms rejected", "rejected"),
    journey(5, "viber sent, viber undelivered, sms sent, sms delivered", "delivered"),
    journey(2, "viber sent, viber undelivered, sms sent", "sent"),
    journey(2, "viber sent, viber undelivered, sms sent, sms undelivered", "undelivered"),
    journey(2, "viber sent, sms sent, sms delivered, viber seen", "read"),
    journey(
        2,
        "viber sent, viber undelivered, sms sent, sms delivered, viber seen",
        "read",
        "viber undelivered",
    ),
    journey(2, "whatsapp_template failed, rcs undelivered, sms sent, sms delivered", "delivered"),
    journey(2, "sms sent, sms delivered, sms failed", "delivered", "sms failed"),
    journey(2, "sms sent, sms undelivered, sms delivered", "delivered", "sms undelivered"),
    journey(2, "sms sent, sms parked_by_carrier, sms delivered", "delivered"),
    journey(1, "sms parked_by_carrier", "unknown"),
    journey(1, "telegram sent, telegram delivered", "delivered"),
    journey(5, "sms sent, sms delivered, reply sms", "delivered"),
    journey(2, "viber sent, viber delivered, viber seen, reply viber, reply viber", "read"),
    journey(1, "whatsapp_template sent, reply whatsapp, whatsapp_template delivered", "delivered"),
    journey(3, "inbound sms", None),
    journey(1, "inbound whatsapp", None),
)

_INFOS: dict[str, tuple[str | None, ...]] = {
    "sent": (None, "Sent"),
    "delivered": (None, "[0] Delivered", "[0]", "Delivered"),
    "undelivered": ("[1] Undelivered",),
    "rejected": ("[302] Bad number", "[304] Blacklisted", "[307] No credit"),
    "failed": ("[3] Failed", "[131042] Business eligibility payment issue", "Unauthorized error"),
}
# The detail object has the gateway's name, but for one; rcs has none documented.
_DETAILS = {"whatsapp_text": "whatsapp_body"}
_WITHOUT_DETAIL = ("rcs", "telegram", "whatsapp")
_SMS_GATEWAYS = ("high", "lowcost", "direct", "test")
_NETWORKS = ((234, 10), (234, 1), (310, 260), (230, 0))

_MALFORMED = Malformed(
    {
        "type": "outgoing",
        "message_id": "spoiled",
        "gateway": "sms",
        "timestamp": 1700000000,
        "result": "sent",
    },
    (
        Flaw("result", ABSENT, "missing_field"),
        Flaw("message_id", ABSENT, "missing_field"),
        Flaw("message_id", 42, "wrong_type"),
        Flaw("gateway", None, "wrong_type"),
        Flaw("gateway", "", "bad_value"),
        Flaw("result", ["sent"], "wrong_type"),
        Flaw("type", "sideways", "bad_value"),
    ),
)


class Message(NamedTuple):
    """A message; one of a multiple request has its recipient's number appended to its id."""

    serial: int
    id: str
    request_id: str
    recipient: str
    payload: JsonObject
    network: tuple[int, int]
    account: str | None = None


class _SmsManager(Simulator[Message, None]):
    """Every item may share a body with every other one."""

    journeys = _JOURNEYS
    meaning: ClassVar[Mapping[str, Status]] = {
        "sending": "sending",
        "sent": "sent",
        "delivered": "delivered",
        "seen": "read",
        "rejected": "rejected",
        "undelivered": "undelivered",
        "failed": "failed",
    }
    delays: ClassVar[Mapping[str, float]] = {
        "sending": 0.3,
        "sent": 1.5,
        "delivered": 4.0,
        "seen": 90.0,
    }

    def message(self, random: Random, serial: int, journey: Journey) -> Message:
        del journey
        return Message(
            serial=serial,
            id=_id(random),
            request_id=uuid(random),
            recipient=number(random),
            payload={"campaign_id": "simulated", "serial": serial},
            network=random.choice(_NETWORKS),
        )

    def item(
        self, random: Random, message: Message, step: Step, at: int, viewer: str | None
    ) -> Item[None]:
        del viewer  # of groups and stories, which SmsManager does not have
        if step.how not in BY_A_PERSON:
            return Item(None, _report(random, message, step, at))
        # It has no id of its own: the same text in another post is another message.
        return Item(None, _incoming(random, message, step, at), repeatable=False)

    def body(self, random: Random, batch: None, items: Sequence[bytes]) -> bytes:
        """An array; now and then one of the other two shapes that the vendor's n8n node accepts."""
        del batch
        array = b"[" + b",".join(items) + b"]"
        shape = random.randrange(40)
        if shape == 0:
            return b'{"notifications":' + array + b"}"
        return items[0] if shape == 1 and len(items) == 1 else array

    def request(self, random: Random, batch: None, body: bytes) -> Request:
        del batch
        headers = {"user-agent": "SmsManager-Webhook/1.0"}
        if random.randrange(20):
            headers["x-request-id"] = uuid(random)
        return Request(body, headers=headers)

    def malformed(self, batch: None) -> Malformed:
        del batch
        return _MALFORMED


SIMULATOR = _SmsManager()


def _id(random: Random) -> str:
    return uuid(random) if random.randrange(2) else f"{uuid(random)}-{random.randrange(50)}"


def _report(random: Random, message: Message, step: Step, at: int) -> JsonObject:
    """One delivery report."""
    item: JsonObject = {
        "request_id": message.request_id,
        "message_id": message.id,
        "gateway": step.how,
        "timestamp": at,
        "type": "outgoing",
        "to": {"phone_number": message.recipient},
        "result": step.word,
    }
    if info := random.choice(_INFOS.get(step.word, (None,))):
        item["result_info"] = info
    if step.word == "rejected":
        return item
    item["payload"] = message.payload
    if step.how not in _WITHOUT_DETAIL:
        item[_DETAILS.get(step.how, step.how)] = _detail(random, message, step.how)
    return item


def _detail(random: Random, message: Message, gateway: str) -> JsonObject:
    parts = random.choice((1, 1, 1, 2, 3))
    detail: JsonObject = {
        "sender": "Simulated",
        "country": message.network[0],
        "operator": message.network[1],
        "price_czk": round(0.89 * parts, 2),
        "price_eur": round(0.036 * parts, 3),
        "count": parts,
    }
    return {"gateway": random.choice(_SMS_GATEWAYS), **detail} if gateway == "sms" else detail


def _incoming(random: Random, message: Message, step: Step, at: int) -> JsonObject:
    """One message by a person; a reply has the ids of the message it answers."""
    ids = {
        "request_id": message.request_id,
        "message_id": message.id,
        "payload": message.payload,
    }
    return {
        **(ids if step.how == "reply" else {}),
        "gateway": step.word,
        "timestamp": at,
        "type": "incoming",
        "sender": message.recipient,
        "recipient": OWN_NUMBER,
        "body": f"Simulated text {message.serial}-{random.getrandbits(32):08x}",
    }

"""Whapi's simulated traffic. Pure.

Sources: the vendor's OpenAPI document 1.8.7 and its help desk, receiving/webhooks. In a journey a
step reads `<kind of webhook> <word>`; `reply` and `inbound` are messages by a person.
"""

from collections.abc import Mapping, Sequence
from random import Random
from string import ascii_letters, digits
from typing import ClassVar, NamedTuple

import msgspec

from providers.simulation import (
    ABSENT,
    BY_A_PERSON,
    OWN_NUMBER,
    Flaw,
    Item,
    Journey,
    JsonObject,
    Malformed,
    Noise,
    Request,
    Simulator,
    Step,
    journey,
    number,
)
from schemas.records import Status

_JOURNEYS = (
    journey(20, "api pending, status sent, status delivered, status read", "read"),
    journey(10, "mobile sent, status delivered, status read", "read"),
    journey(10, "api pending, status sent, status delivered", "delivered"),
    journey(
        5, "voice pending, status sent, status delivered, status read, status played", "played"
    ),
    journey(4, "status sent, status read", "read"),
    journey(4, "api pending, offline sent, offline delivered, status read", "read"),
    journey(3, "api pending", "queued"),  # bad content or a missing permission
    journey(3, "api pending, status sent", "sent"),
    journey(3, "api pending, status failed", "failed"),
    journey(2, "api pending, status sent, update delivered, update read", "read"),
    journey(2, "api pending, status sent, status delivered, status deleted", "delivered"),
    journey(1, "api pending, status sent, remove deleted", "sent"),
    journey(1, "mobile sent, status read, action deleted", "read"),
    journey(
        2,
        "api pending, status sent, status delivered, status failed",
        "delivered",
        "whatsapp failed",
    ),
    journey(2, "api pending, status failed, status sent, status read", "read", "whatsapp failed"),
    journey(1, "api pending, status server_ack, status delivered", "delivered"),
    journey(
        4,
        "api pending, status sent, status delivered by 0, status delivered by 1, status read by 0",
        "sent",
        chat="group",
    ),
    journey(2, "mobile sent, status read by 0, status failed by 1", "sent", chat="group"),
    journey(2, "api sent, offline read by 0, offline read by 1", "sent", chat="stories"),
    journey(5, "api pending, status sent, status delivered, status read, reply text", "read"),
    journey(5, "inbound text", None),
    journey(2, "inbound text, status read", "read"),  # there are statuses of messages by others
)

_NOISE = 0.1  # the share of messages with an item that reports no status
_ALPHABET = ascii_letters + digits + "._"
_CODES = {"failed": 0, "pending": 1, "sent": 2, "delivered": 3, "read": 4, "played": 5}

# The data key of the body, the type and the verb of the event, by the `how` of a step.
_MESSAGES = ("messages", "messages", "post")
_EVENTS = {
    "status": ("statuses", "statuses", "post"),
    "offline": ("statuses", "statuses", "put"),
    "update": ("messages_updates", "messages", "patch"),
    "remove": ("messages_removed", "messages", "delete"),
    "presence": ("presences", "presences", "post"),
    "chat": ("chats_updates", "chats", "patch"),
}

_MALFORMED: Mapping[str, Malformed] = {
    "statuses": Malformed(
        {
            "id": "spoiled-0",
            "code": 2,
            "status": "sent",
            "recipient_id": "447700900999@s.whatsapp.net",
            "timestamp": "1700000000",
        },
        (
            Flaw("id", ABSENT, "missing_field"),
            Flaw("status", ABSENT, "missing_field"),
            Flaw("status", 3, "wrong_type"),
            Flaw("status", "", "bad_value"),
            Flaw("id", "x" * 600, "bad_value"),
        ),
    ),
    "messages": Malformed(
        {
            "id": "spoiled-0",
            "type": "text",
            "from_me": True,
            "chat_id": "447700900999@s.whatsapp.net",
            "timestamp": 1700000000,
            "status": "pending",
            "text": {"body": "Hello"},
        },
        (
            Flaw("id", ABSENT, "missing_field"),
            Flaw("from_me", ABSENT, "missing_field"),
            Flaw("from_me", "yes", "wrong_type"),
            Flaw("type", "", "bad_value"),
        ),
    ),
}


class Channel(NamedTuple):
    """A channel and the mode of its webhooks."""

    id: str
    mode: str


CHANNELS = (
    Channel("TITMSE-S1MUL", "body"),
    Channel("WARBLR-S1MUL", "path"),
    Channel("FINCHX-S1MUL", "method"),
)


class Batch(NamedTuple):
    """What one body has in common: the channel, its data key, the type and verb of the event."""

    channel: Channel
    data: str
    event: str
    verb: str


class Message(NamedTuple):
    """A message in a chat."""

    serial: int
    id: str
    recipient: str
    chat: str
    channel: Channel

    @property
    def account(self) -> str:
        return self.channel.id


class _Whapi(Simulator[Message, Batch]):
    """Items of one channel and one event may share a body."""

    journeys = _JOURNEYS
    meaning: ClassVar[Mapping[str, Status]] = {
        "pending": "queued",
        "sent": "sent",
        "delivered": "delivered",
        "read": "read",
        "played": "played",
        "failed": "failed",
        "deleted": "deleted",
    }
    delays: ClassVar[Mapping[str, float]] = {"pending": 0.3, "sent": 1.5, "delivered": 4.0}

    def message(self, random: Random, serial: int, journey: Journey) -> Message:
        recipient = number(random)
        chats = {"group": f"1203630{random.randrange(10**11):011}@g.us", "stories": "stories"}
        return Message(
            serial=serial,
            id=_id(random, journey.chat),
            recipient=recipient,
            chat=chats.get(journey.chat, f"{recipient}@s.whatsapp.net"),
            channel=random.choice(CHANNELS),
        )

    def item(
        self, random: Random, message: Message, step: Step, at: int, viewer: str | None
    ) -> Item[Batch]:
        batch = Batch(message.channel, *_EVENTS.get(step.how, _MESSAGES))
        if step.how in BY_A_PERSON:
            return Item(batch, _written_by_a_person(random, message, step, at))
        return Item(batch, _item(random, message, step, at, viewer))

    def body(self, random: Random, batch: Batch, items: Sequence[bytes]) -> bytes:
        """An object. In the modes `path` and `method` it may be without its `event`.

        No public document describes this: consumers must accept bodies without it.
        """
        body: JsonObject = {batch.data: [msgspec.Raw(item) for item in items]}
        if batch.channel.mode == "body" or random.randrange(2):
            body["event"] = {"type": batch.event, "event": batch.verb}
        body["channel_id"] = batch.channel.id
        return msgspec.json.encode(body)

    def request(self, random: Random, batch: Batch, body: bytes) -> Request:
        del random
        match batch.channel.mode:
            case "path":
                return Request(body, path=f"/{batch.event}/{batch.verb}")
            case "method":
                return Request(body, batch.verb.upper(), f"/{batch.event}")
        return Request(body)

    def gateway(self, step: Step) -> str:
        del step
        return "whatsapp"

    def noise(self, random: Random, message: Message, at: int) -> Noise[Batch] | None:
        """Draw an item that Whapi sends to the same address and that reports no status."""
        if random.random() >= _NOISE:
            return None
        chat = {"id": message.chat, "timestamp": at}
        reaction = _action(_id(random), "reaction", _id(random), message.chat, at)
        event, json, ignored = random.choice(
            (
                ("presence", {"contact_id": number(random), "status": "online"}, "presences"),
                ("chat", {"before_update": chat, "after_update": chat}, "chats_updates"),
                ("message", reaction, "messages.action.reaction"),
            )
        )
        batch = Batch(message.channel, *_EVENTS.get(event, _MESSAGES))
        return Noise(Item(batch, json), ignored)

    def malformed(self, batch: Batch) -> Malformed | None:
        return _MALFORMED.get(batch.data)


SIMULATOR = _Whapi()


def _id(random: Random, chat: str = "") -> str:
    """Draw an id such as `yqJRppZk7BI-wNoTwl0rVw`; in a group it has a third part."""
    parts = (11, 10, 6) if chat == "group" else (11, 10)
    return "-".join("".join(random.choices(_ALPHABET, k=length)) for length in parts)


def _item(random: Random, message: Message, step: Step, at: int, viewer: str | None) -> object:
    match step.how:
        case "status" | "offline":
            return _status(message, step.word, at, viewer)
        case "update":
            return _update(message, step.word, at)
        case "remove":
            return message.id
        case "action":
            return _action(_id(random), "delete", message.id, message.chat, at)
        case _:
            return _sent_message(message, step, at)


def _written_by_a_person(random: Random, message: Message, step: Step, at: int) -> JsonObject:
    if step.how == "inbound":
        return _received_message(message, message.id, at, f"Simulated text {message.serial}")
    text = f"Simulated reply {message.serial}"
    return _received_message(message, _id(random), at, text, quoted=message.id)


def _status(message: Message, word: str, at: int, viewer: str | None) -> JsonObject:
    """One entry of `statuses`."""
    item: JsonObject = {
        "id": message.id,
        "status": word,
        "recipient_id": message.chat,
        "timestamp": str(at),
    }
    if word in _CODES:
        item["code"] = _CODES[word]
    if viewer is not None:
        item["viewer_id"] = viewer
    if word == "failed":
        item["errors"] = [{"code": 500, "message": "Not sent", "details": "simulated"}]
    return item


def _sent_message(message: Message, step: Step, at: int) -> JsonObject:
    """One entry of `messages`, outbound, with its first status."""
    kind = "voice" if step.how == "voice" else "text"
    content = {"voice": {"mime_type": "audio/ogg", "seconds": 7}, "text": {"body": "Hello"}}
    return {
        "id": message.id,
        "from_me": True,
        "type": kind,
        "chat_id": message.chat,
        "timestamp": at,
        "source": "mobile" if step.how == "mobile" else "api",
        "status": step.word,
        kind: content[kind],
        "from": OWN_NUMBER,
    }


def _received_message(
    message: Message, id_: str, at: int, text: str, *, quoted: str | None = None
) -> JsonObject:
    """One entry of `messages`, by another person; it may quote an outbound one."""
    item: JsonObject = {
        "id": id_,
        "from_me": False,
        "type": "text",
        "chat_id": message.chat,
        "timestamp": at,
        "source": "mobile",
        "text": {"body": text},
        "from": message.recipient,
        "from_name": "Nobody",
    }
    if quoted is not None:
        item["context"] = {"quoted_id": quoted, "quoted_author": OWN_NUMBER, "quoted_type": "text"}
    return item


def _update(message: Message, word: str, at: int) -> JsonObject:
    """One entry of `messages_updates`: the status changed."""
    base = {
        "id": message.id,
        "type": "text",
        "from_me": True,
        "chat_id": message.chat,
        "timestamp": at,
    }
    return {
        "id": message.id,
        "before_update": {**base, "status": "sent" if word == "delivered" else "delivered"},
        "after_update": {**base, "status": word},
        "changes": ["status"],
    }


def _action(id_: str, kind: str, target: str, chat: str, at: int) -> JsonObject:
    """One entry of `messages` that acts on another message, such as `delete`."""
    return {
        "id": id_,
        "from_me": True,
        "type": "action",
        "chat_id": chat,
        "timestamp": at,
        "source": "mobile",
        "action": {"target": target, "type": kind},
        "from": OWN_NUMBER,
    }

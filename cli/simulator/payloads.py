"""Items of webhooks as the providers document them, for simulated messages. Pure.

Sources: SmsManager's OpenAPI document (jsonapi_v2) and guides/webhooks; Whapi's OpenAPI document
1.8.7 and its help desk, receiving/webhooks. Every phone number is one set aside for fiction:
+44 7700 900xxx (Ofcom's numbers for drama) and +1 202 555 01xx.
"""

from random import Random
from string import ascii_letters, digits
from typing import Any, NamedTuple
from uuid import UUID

from cli.simulator.scenarios import Step

OWN_NUMBER = "447700900000"

JsonObject = dict[str, Any]

_ALPHABET = ascii_letters + digits + "._"
_CODES = {"failed": 0, "pending": 1, "sent": 2, "delivered": 3, "read": 4, "played": 5}
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


class Channel(NamedTuple):
    """A Whapi channel and how its webhooks are set up."""

    id: str
    mode: str


class Message(NamedTuple):
    """One simulated message: who, to whom, under which ids. `chat` is Whapi's chat id."""

    serial: int
    id: str
    request_id: str
    recipient: str
    chat: str
    channel: Channel
    payload: JsonObject
    network: tuple[int, int]


def message(random: Random, serial: int, source: str, chat: str, channel: Channel) -> Message:
    """Draw a message of a provider; `chat` is `personal`, `group` or `stories`."""
    recipient = number(random)
    chats = {"personal": f"{recipient}@s.whatsapp.net", "group": _group(random), "stories": chat}
    return Message(
        serial=serial,
        id=whapi_id(random, chat) if source == "whapi" else _smsmanager_id(random),
        request_id=uuid(random),
        recipient=recipient,
        chat=chats[chat],
        channel=channel,
        payload={"campaign_id": "simulated", "serial": serial},
        network=random.choice(((234, 10), (234, 1), (310, 260), (230, 0))),
    )


def whapi_id(random: Random, chat: str = "personal") -> str:
    """Draw an id such as `yqJRppZk7BI-wNoTwl0rVw`; in a group it has a third part."""
    parts = (11, 10, 6) if chat == "group" else (11, 10)
    return "-".join("".join(random.choices(_ALPHABET, k=length)) for length in parts)


def number(random: Random) -> str:
    """Draw the phone number of nobody, in international form without the plus."""
    if not random.randrange(5):
        return f"120255501{random.randrange(100):02}"
    return f"447700900{random.randrange(1, 1000):03}"


def uuid(random: Random) -> str:
    """Draw a random UUID."""
    return str(UUID(int=random.getrandbits(128), version=4))


def report(random: Random, told: Message, step: Step, at: int) -> JsonObject:
    """One delivery report of SmsManager; `at` is Unix seconds."""
    item: JsonObject = {
        "request_id": told.request_id,
        "message_id": told.id,
        "gateway": step.how,
        "timestamp": at,
        "type": "outgoing",
        "to": {"phone_number": told.recipient},
        "result": step.word,
    }
    if info := random.choice(_INFOS.get(step.word, (None,))):
        item["result_info"] = info
    if step.word == "rejected":
        return item
    item["payload"] = told.payload
    if step.how not in _WITHOUT_DETAIL:
        item[_DETAILS.get(step.how, step.how)] = _detail(random, told, step.how)
    return item


def incoming(told: Message, gateway: str, at: int, text: str, *, reply: bool) -> JsonObject:
    """One message by a person to SmsManager; a reply has the ids of what it answers."""
    ids = {
        "request_id": told.request_id,
        "message_id": told.id,
        "payload": told.payload,
    }
    return {
        **(ids if reply else {}),
        "gateway": gateway,
        "timestamp": at,
        "type": "incoming",
        "sender": told.recipient,
        "recipient": OWN_NUMBER,
        "body": text,
    }


def status(told: Message, word: str, at: int, viewer: str | None) -> JsonObject:
    """One entry of Whapi's `statuses`."""
    item: JsonObject = {
        "id": told.id,
        "status": word,
        "recipient_id": told.chat,
        "timestamp": str(at),
    }
    if word in _CODES:
        item["code"] = _CODES[word]
    if viewer is not None:
        item["viewer_id"] = viewer
    if word == "failed":
        item["errors"] = [{"code": 500, "message": "Not sent", "details": "simulated"}]
    return item


def sent_message(told: Message, step: Step, at: int) -> JsonObject:
    """One entry of Whapi's `messages`, our own, with the status it starts from."""
    kind = "voice" if step.how == "voice" else "text"
    content = {"voice": {"mime_type": "audio/ogg", "seconds": 7}, "text": {"body": "Hello"}}
    return {
        "id": told.id,
        "from_me": True,
        "type": kind,
        "chat_id": told.chat,
        "timestamp": at,
        "source": "mobile" if step.how == "mobile" else "api",
        "status": step.word,
        kind: content[kind],
        "from": OWN_NUMBER,
    }


def received_message(
    told: Message, id_: str, at: int, text: str, *, quoted: str | None = None
) -> JsonObject:
    """One entry of Whapi's `messages`, by somebody else; it may quote one of ours."""
    item: JsonObject = {
        "id": id_,
        "from_me": False,
        "type": "text",
        "chat_id": told.chat,
        "timestamp": at,
        "source": "mobile",
        "text": {"body": text},
        "from": told.recipient,
        "from_name": "Nobody",
    }
    if quoted is not None:
        item["context"] = {"quoted_id": quoted, "quoted_author": OWN_NUMBER, "quoted_type": "text"}
    return item


def update(told: Message, word: str, at: int) -> JsonObject:
    """One entry of Whapi's `messages_updates`: the status changed."""
    base = {"id": told.id, "type": "text", "from_me": True, "chat_id": told.chat, "timestamp": at}
    return {
        "id": told.id,
        "before_update": {**base, "status": "sent" if word == "delivered" else "delivered"},
        "after_update": {**base, "status": word},
        "changes": ["status"],
    }


def action(id_: str, kind: str, target: str, chat: str, at: int) -> JsonObject:
    """One entry of Whapi's `messages` that does something to another message, such as `delete`."""
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


def _detail(random: Random, told: Message, gateway: str) -> JsonObject:
    parts = random.choice((1, 1, 1, 2, 3))
    detail: JsonObject = {
        "sender": "Simulated",
        "country": told.network[0],
        "operator": told.network[1],
        "price_czk": round(0.89 * parts, 2),
        "price_eur": round(0.036 * parts, 3),
        "count": parts,
    }
    return {"gateway": random.choice(_SMS_GATEWAYS), **detail} if gateway == "sms" else detail


def _smsmanager_id(random: Random) -> str:
    """Draw a UUID; a message of a multiple request has its recipient's number appended."""
    return uuid(random) if random.randrange(2) else f"{uuid(random)}-{random.randrange(50)}"


def _group(random: Random) -> str:
    return f"1203630{random.randrange(10**11):011}@g.us"

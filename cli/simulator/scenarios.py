"""The lives a simulated message may lead, as a table, each with the truth known in advance.

A journey's steps read `<how> <word>`. For SmsManager `how` is the gateway that reports the word,
for Whapi the kind of webhook that carries it. `reply` and `inbound` are messages by a person.
Where a message stands in the end is written down here by hand, following decision 4:
it is what the tracker is tested against, so it is not computed by the tracker's code.
"""

from typing import NamedTuple

from schemas.records import Status

BY_A_PERSON = ("reply", "inbound")

# A provider's words and ours, from the providers' documents; any other word is unknown.
MEANING: dict[str, Status] = {
    "pending": "queued",
    "sending": "sending",
    "sent": "sent",
    "delivered": "delivered",
    "seen": "read",
    "read": "read",
    "played": "played",
    "rejected": "rejected",
    "undelivered": "undelivered",
    "failed": "failed",
    "deleted": "deleted",
}


class Step(NamedTuple):
    """One report; `viewer` numbers the reader of a group message or a story."""

    how: str
    word: str
    viewer: int | None = None


class Journey(NamedTuple):
    """A life: how often it is led, its steps, where it ends.

    `disputed` names the gateways' failures that the same gateway's deliveries contradict, as
    "gateway failure". `chat` is `personal`, `group` or `stories`.
    """

    source: str
    share: int
    steps: tuple[Step, ...]
    status: Status | None
    disputed: tuple[str, ...] = ()
    chat: str = "personal"


def _steps(text: str) -> tuple[Step, ...]:
    steps = []
    for step in text.split(", "):
        how, word, *viewer = step.replace(" by ", " ").split()
        steps.append(Step(how, word, int(viewer[0]) if viewer else None))
    return tuple(steps)


def _sms(share: int, steps: str, status: Status | None, *disputed: str) -> Journey:
    return Journey("smsmanager", share, _steps(steps), status, disputed)


def _whapi(
    share: int, steps: str, status: Status | None, *disputed: str, chat: str = "personal"
) -> Journey:
    return Journey("whapi", share, _steps(steps), status, disputed, chat)


JOURNEYS = (
    _sms(30, "sms sent, sms delivered", "delivered"),
    _sms(12, "sms sending, sms sent, sms delivered", "delivered"),
    _sms(6, "sms sent", "sent"),  # some carriers send no receipts: the last event for good
    _sms(2, "sms sending", "sending"),
    _sms(8, "viber sent, viber delivered, viber seen", "read"),
    _sms(5, "whatsapp_template sent, whatsapp_template delivered, whatsapp_template seen", "read"),
    _sms(3, "whatsapp_text sending, whatsapp_text sent, whatsapp_text delivered", "delivered"),
    _sms(2, "whatsapp sent, whatsapp seen", "read"),  # `seen` implies what was never told
    _sms(2, "rcs sent, rcs delivered", "delivered"),
    _sms(4, "sms sent, sms undelivered", "undelivered"),
    _sms(2, "sms sending, sms failed", "failed"),
    _sms(3, "sms rejected", "rejected"),
    _sms(5, "viber sent, viber undelivered, sms sent, sms delivered", "delivered"),
    _sms(2, "viber sent, viber undelivered, sms sent", "sent"),
    _sms(2, "viber sent, viber undelivered, sms sent, sms undelivered", "undelivered"),
    _sms(2, "viber sent, sms sent, sms delivered, viber seen", "read"),
    _sms(
        2,
        "viber sent, viber undelivered, sms sent, sms delivered, viber seen",
        "read",
        "viber undelivered",
    ),
    _sms(2, "whatsapp_template failed, rcs undelivered, sms sent, sms delivered", "delivered"),
    _sms(2, "sms sent, sms delivered, sms failed", "delivered", "sms failed"),
    _sms(2, "sms sent, sms undelivered, sms delivered", "delivered", "sms undelivered"),
    _sms(2, "sms sent, sms parked_by_carrier, sms delivered", "delivered"),
    _sms(1, "sms parked_by_carrier", "unknown"),
    _sms(1, "telegram sent, telegram delivered", "delivered"),
    _sms(5, "sms sent, sms delivered, reply sms", "delivered"),
    _sms(2, "viber sent, viber delivered, viber seen, reply viber, reply viber", "read"),
    _sms(1, "whatsapp_template sent, reply whatsapp, whatsapp_template delivered", "delivered"),
    _sms(3, "inbound sms", None),
    _sms(1, "inbound whatsapp", None),
    _whapi(20, "api pending, status sent, status delivered, status read", "read"),
    _whapi(10, "mobile sent, status delivered, status read", "read"),
    _whapi(10, "api pending, status sent, status delivered", "delivered"),
    _whapi(5, "voice pending, status sent, status delivered, status read, status played", "played"),
    _whapi(4, "status sent, status read", "read"),
    _whapi(4, "api pending, offline sent, offline delivered, status read", "read"),
    _whapi(3, "api pending", "queued"),  # bad content or a missing permission
    _whapi(3, "api pending, status sent", "sent"),
    _whapi(3, "api pending, status failed", "failed"),
    _whapi(2, "api pending, status sent, update delivered, update read", "read"),
    _whapi(2, "api pending, status sent, status delivered, status deleted", "delivered"),
    _whapi(1, "api pending, status sent, remove deleted", "sent"),
    _whapi(1, "mobile sent, status read, action deleted", "read"),
    _whapi(
        2,
        "api pending, status sent, status delivered, status failed",
        "delivered",
        "whatsapp failed",
    ),
    _whapi(2, "api pending, status failed, status sent, status read", "read", "whatsapp failed"),
    _whapi(1, "api pending, status server_ack, status delivered", "delivered"),
    _whapi(
        4,
        "api pending, status sent, status delivered by 0, status delivered by 1, status read by 0",
        "sent",
        chat="group",
    ),
    _whapi(2, "mobile sent, status read by 0, status failed by 1", "sent", chat="group"),
    _whapi(2, "api sent, offline read by 0, offline read by 1", "sent", chat="stories"),
    _whapi(5, "api pending, status sent, status delivered, status read, reply text", "read"),
    _whapi(5, "inbound text", None),
    _whapi(2, "inbound text, status read", "read"),  # statuses are told of foreign messages too
)

"""The words that records use, each with its meaning. Pure.

A later version may add words to every one of these lists, so the published schemas allow others.
"""

from typing import Literal

STATUSES: dict[str, str] = {
    "queued": "The provider has the message and has not begun to send it.",
    "sending": "The provider is sending the message.",
    "sent": "The provider has handed the message to the network or the messenger.",
    "delivered": "The message is on the recipient's device.",
    "read": "The recipient has read the message.",
    "played": "The recipient has played the voice message.",
    "rejected": "Failure: the provider refused the message and did not send it.",
    "undelivered": "Failure: the network or the messenger could not deliver the message.",
    "failed": "Failure: sending ended with an error.",
    "expired": "Failure: the message's time of validity ended before it was delivered.",
    "deleted": "The message was deleted. It does not change the message's earlier status.",
    "unknown": "The provider's word is not known to Bluetick; `provider_status` has the word.",
}

DIRECTIONS: dict[str, str] = {
    "outbound": "We sent the message. Only here does `read` mean that a customer read it.",
    "inbound": "A person sent the message to us: `read` means that we read it.",
    "unknown": "The provider has not reported yet who sent the message.",
}

VERDICTS: dict[str, str] = {
    "advanced": "The fact moved the message, or the viewer, forward.",
    "late": "The fact is new and older than the present status, which stays.",
    "contradiction": "A failure after a delivery by the same gateway; the delivery stays.",
    "recovered": "A delivery by a gateway that had reported a failure before.",
    "aside": "The fact is `deleted` or `unknown`, which is outside of the order of statuses.",
}

CHANNELS: dict[str, str] = {
    "sms": "Text message.",
    "viber": "Viber.",
    "whatsapp": "WhatsApp: every gateway of it.",
    "telegram": "Telegram.",
    "rcs": "Rich Communication Services.",
}

CONTENT_TYPES: dict[str, str] = {
    "text": "Text; `text` has it. It may be absent if the provider does not say what was sent.",
    "image": "Picture, with `caption`, `mime_type` and `link` where they are known.",
    "video": "Video, like a picture.",
    "short": "Short round video.",
    "gif": "Moving picture.",
    "audio": "Sound file.",
    "voice": "Voice message.",
    "document": "File, with `filename`.",
    "sticker": "Sticker.",
    "location": "Place: `latitude`, `longitude`, and `name` and `address` if given.",
    "live_location": "Place of a moving person; the position is the reported one.",
    "contact": "Contact card: `contacts` has one person.",
    "contact_list": "Several contact cards, in `contacts`.",
    "link_preview": "Text with a link and its preview: `text`, `title`, `description`, `link`.",
    "poll": "Question with `title` and `options`.",
    "reply": "Chosen button or list entry: `text` is its label, `choice` its id.",
    "interactive": "Message with buttons or a list.",
    "story": "Story by a contact; the other fields are those of what it shows.",
    "unknown": "Placeholder: the provider cannot read the content, or not yet.",
}

PERIODS: dict[str, str] = {
    "minute": "A minute.",
    "hour": "An hour.",
    "day": "A day, which begins at midnight UTC.",
}

VOCABULARIES: dict[str, tuple[str, dict[str, str]]] = {
    "Status": ("A message's status, in the common words of all providers.", STATUSES),
    "Direction": ("Who sent a message.", DIRECTIONS),
    "Verdict": ("The effect of a fact on its message.", VERDICTS),
    "Channel": (
        "How a message travels. A gateway that Bluetick does not know is a channel of its own.",
        CHANNELS,
    ),
    "ContentType": ("The kind of a content, in the provider's word.", CONTENT_TYPES),
    "Period": ("The length of a period.", PERIODS),
}

Vocabulary = Literal[
    "", "Status", "Direction", "Verdict", "Channel", "ContentType", "Period", "Code"
]
"""The list that a field's value is from; `Code` is that of dead letters, beside their rules."""

"""The parties of a chat, as Whapi writes them: phone numbers, groups, lids. Pure.

Sources: the vendor's help desk (core-chat-id, whatsapp-lid) and OpenAPI document (ChatID); live
webhooks show that a JID may name a device, `<user>:<device>@<server>`.
"""

import re
from collections.abc import Container, Mapping
from typing import Any

from providers.fields import MAX_ID, Unread, missing, phone
from providers.rejection import Refused
from providers.whapi import payloads

_SERVER = "@s.whatsapp.net"
_PERSONAL = re.compile(r"\s*([0-9]+)(?:[._][0-9]+)?(?::[0-9]+)?@(?:s\.whatsapp\.net|c\.us)\s*")
_LID = re.compile(r"\s*([0-9]+)(?:[._][0-9]+)?(?::[0-9]+)?@lid\s*")
_SHARED = ("@g.us", "@newsletter", "@broadcast")
_STORIES = ("stories", "status@broadcast")


def party(value: Any, name: str, unread: Unread) -> str | None:
    """Return a party without its device: a phone number as digits; a group, channel or lid as is.

    None if it is absent, or cannot be read: then `unread` has its name.
    """
    if value is None:
        return None
    if isinstance(value, dict):  # some bodies have {"id": …, "name": …}
        value = value.get("id")
    if not value and value in (None, "", []):
        return None
    if not isinstance(value, str):
        unread[name] = Refused("wrong_type", f"`{name}` should be a string")
        return None
    if len(value) > MAX_ID:
        unread[name] = Refused("bad_value", f"`{name}` is longer than {MAX_ID} characters")
        return None
    return _named(value)


def _named(value: str) -> str | None:
    number = value.removesuffix(_SERVER)
    if (number.isascii() and number.isdecimal()) or "@" not in value:
        return phone(number)
    if personal := _PERSONAL.fullmatch(value):
        return personal[1]
    lid = _LID.fullmatch(value)
    return f"{lid[1]}@lid" if lid else value.strip()


def is_shared(chat: str | None) -> bool:
    """Whether a chat has many readers: a group, a channel, stories."""
    return chat is not None and (chat == "stories" or chat.endswith(_SHARED))


def is_stories(chat: str | None) -> bool:
    """Whether a chat is the one that all stories are in."""
    return chat in _STORIES


def has_receipts(chat: str | None) -> bool:
    """Whether receipts are due: a channel has none, a story those of its viewers only."""
    return chat is None or not (chat in _STORIES or chat.endswith("@newsletter"))


def reader_of(status: Mapping[str, Any], unread: Unread) -> tuple[str | None, str | None]:
    """Return the recipient of a status, and its viewer if its chat has many readers.

    In a personal chat the viewer is the recipient. A group, a channel and stories name their chat
    in each status, so a status without a chat is of a personal chat with the viewer.
    """
    recipient = party(status.get("recipient_id"), "recipient_id", unread)
    viewer = party(status.get("viewer_id"), "viewer_id", unread)
    personal = not is_shared(recipient or viewer) and "recipient_id" not in unread
    if personal:
        return recipient or viewer, None
    if "viewer_id" in unread:
        missing("viewer_id", unread)
    return recipient, viewer


def quoted(
    context: payloads.Context | None, sender: Container[str | None], unread: Unread
) -> str | None:
    """Return the id of the quoted message, unless the sender wrote it.

    `sender` holds the names of the sender in the message. A quoted author that cannot be read may
    be either party.
    """
    if not context:
        return None
    author = party(context.get("quoted_author"), "context.quoted_author", unread)
    if "context.quoted_author" in unread or (author is not None and author in sender):
        return None
    return context.get("quoted_id") or None

"""The content of a Whapi message: texts and the description of a medium, not the medium. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from providers.fields import UNREADABLE, Unread, finite, phone
from providers.rejection import Refused

# The fields of contents in the OpenAPI document, and Bluetick's names for them.
_TEXTS = {
    "body": "text",
    "text": "text",
    "caption": "caption",
    "title": "title",
    "description": "description",
    "name": "name",
    "address": "address",
    "mime_type": "mime_type",
    "file_name": "filename",
    "filename": "filename",
    "link": "link",
    "url": "url",
}
_NUMBERS = ("latitude", "longitude")

# A story, or a document with a caption, is in a field that does not have the name of its type.
_CARRIERS = ("text", "image", "video", "gif", "audio", "voice", "short", "document", "link_preview")

_EMPTY: tuple[Any, ...] = (None, "", [], {})

_LINES = re.IGNORECASE | re.MULTILINE

# Lines of a vCard (RFC 6350): a long one continues in the next, after a space.
_FOLD = re.compile(r"\r?\n[ \t]")
_TELEPHONE = re.compile(
    r'^(?:[\w-]+\.)?TEL(?:;(?:[^":\r\n]|"[^"\r\n]*")*)?:(?:tel:)?([^\r\n]+)',
    _LINES,
)
_FULL_NAME = re.compile(r"^(?:[\w-]+\.)?FN(?:;[^:\r\n]*)?:([^\r\n]+)", _LINES)


def content_of(kind: str, fields: Mapping[str, Any], unread: Unread) -> dict[str, Any]:
    """Return the content of a message of a type, from the fields that may hold it.

    There are many contents, they change without notice, and no status depends on them. A part with
    an unexpected shape is left out, and is unread as `content`, or `content.` and Bluetick's name.
    """
    content: dict[str, Any] = {"type": kind}
    given = fields.get(kind)
    if given is None:
        given = next((fields[name] for name in _CARRIERS if name in fields), None)
    if isinstance(given, str):
        given = {"text": given}
    elif isinstance(given, list) and kind == "contact_list":
        given = {"list": given}
    if isinstance(given, dict):
        _add_texts(content, given, unread)
        _add_numbers(content, given, unread)
        _add_choice(content, given)
        if "vcard" in given or "list" in given:
            _add_contacts(content, given, unread)
    elif given not in _EMPTY:
        unread["content"] = _odd("content")
    return content


def _odd(name: str) -> Refused:
    return Refused("wrong_type", f"`{name}` has not the shape it should have")


def _add_texts(content: dict[str, Any], given: dict[str, Any], unread: Unread) -> None:
    for theirs, ours in _TEXTS.items():
        value = given.get(theirs)
        if value is None:
            continue
        if isinstance(value, dict):  # interactive messages: "body": {"text": …}
            value = value.get("text")
        if isinstance(value, str):
            if value and not value.startswith("data:"):
                content.setdefault(ours, value)
        elif value not in _EMPTY:
            unread[f"content.{ours}"] = _odd(f"content.{ours}")
    options = given.get("options")
    if isinstance(options, list):
        content["options"] = [option for option in options if isinstance(option, str)]


def _add_numbers(content: dict[str, Any], given: dict[str, Any], unread: Unread) -> None:
    for name in _NUMBERS:
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            unread[f"content.{name}"] = _odd(f"content.{name}")
        elif (number := finite(value, f"content.{name}", unread)) is not None:
            content[name] = number


def _add_choice(content: dict[str, Any], given: dict[str, Any]) -> None:
    """Add the chosen button or list entry: `reply` holds one, as {id, title}."""
    chosen = given.get("buttons_reply") or given.get("button_reply") or given.get("list_reply")
    if isinstance(chosen, dict):
        for theirs, ours in (("title", "text"), ("id", "choice")):
            if isinstance(chosen.get(theirs), str):
                content.setdefault(ours, chosen[theirs])


def _add_contacts(content: dict[str, Any], given: dict[str, Any], unread: Unread) -> None:
    """Add the people of contact cards, with their numbers, from their vCards."""
    listed = isinstance(given.get("list"), list) and content["type"] == "contact_list"
    cards = given["list"] if listed else [given] if "vcard" in given else []
    contacts = [_contact(card, unread) for card in cards]
    if listed or any("numbers" in contact for contact in contacts):
        content["contacts"] = [contact for contact in contacts if contact]


def _contact(card: Any, unread: Unread) -> dict[str, Any]:
    vcard = card.get("vcard") if isinstance(card, dict) else UNREADABLE
    if not isinstance(vcard, str):
        if vcard not in _EMPTY:
            unread["content.contacts"] = _odd("content.contacts")
        vcard = ""
    vcard = _FOLD.sub("", vcard)
    name = card.get("name") if isinstance(card, dict) else None
    if not isinstance(name, str) or not name:
        full = _FULL_NAME.search(vcard)
        name = full[1].strip() if full else None
    numbers = [phone(number.strip()) for number in _TELEPHONE.findall(vcard)]
    contact = {"name": name, "numbers": [one for one in dict.fromkeys(numbers) if one]}
    return {key: value for key, value in contact.items() if value}

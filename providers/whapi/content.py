"""What a Whapi message says, small: texts and what describes a medium, never the medium. Pure."""

from collections.abc import Mapping
from typing import Any

from providers.fields import refuse_non_finite

# Field names of the OpenAPI document's contents, and ours.
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

# A story, or a document with a caption, lies in a field of another name than its type.
_CARRIERS = ("text", "image", "video", "gif", "audio", "voice", "short", "document", "link_preview")


def content_of(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a message of a type, from the fields that may hold it.

    Contents are many and change without notice, and no status hangs on them: what is not of the
    expected shape is left out.
    """
    content: dict[str, Any] = {"type": kind}
    told = fields.get(kind)
    if told is None:
        told = next((fields[name] for name in _CARRIERS if name in fields), None)
    if isinstance(told, str):
        told = {"text": told}
    if isinstance(told, dict):
        _add_texts(content, told)
        _add_numbers(content, told)
        _add_choice(content, told)
    return content


def _add_texts(content: dict[str, Any], told: dict[str, Any]) -> None:
    for theirs, ours in _TEXTS.items():
        value = told.get(theirs)
        if isinstance(value, dict):  # interactive messages: "body": {"text": …}
            value = value.get("text")
        if isinstance(value, str) and value and not value.startswith("data:"):
            content.setdefault(ours, value)
    options = told.get("options")
    if isinstance(options, list):
        content["options"] = [option for option in options if isinstance(option, str)]


def _add_numbers(content: dict[str, Any], told: dict[str, Any]) -> None:
    for name in _NUMBERS:
        value = told.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            refuse_non_finite(value, name)
            content[name] = value


def _add_choice(content: dict[str, Any], told: dict[str, Any]) -> None:
    """What was tapped: `reply` holds `buttons_reply` or `list_reply`, {id, title}."""
    chosen = told.get("buttons_reply") or told.get("list_reply")
    if isinstance(chosen, dict):
        for theirs, ours in (("title", "text"), ("id", "choice")):
            if isinstance(chosen.get(theirs), str):
                content.setdefault(ours, chosen[theirs])

"""The payloads of Whapi.Cloud, as far as they are read (OpenAPI document 1.8.7, WebhookPayload).

A field typed `Any` has more than one shape in practice; its reader handles them. A required field
is a fact of each item; the readers require the other facts.
"""

from collections.abc import Collection
from typing import Annotated, Any, Required

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from providers.fields import MAX_ID, Id, Unread, reader, value_reader
from providers.rejection import Refused
from schemas.records import Reason

_Word = Annotated[str, Field(max_length=MAX_ID)]


class Event(TypedDict, total=False):
    """The event of a body. The document has `method`, live bodies have `event`."""

    type: str | None
    event: str | None
    method: str | None


class Status(TypedDict, total=False):
    """One entry of `statuses`."""

    id: Required[Id]
    status: Required[Id]
    timestamp: Any
    recipient_id: Any
    viewer_id: Any
    errors: Any


class Action(TypedDict, total=False):
    """The action of a message of type `action` on another one."""

    type: Required[Id]
    target: Id | None
    edited_type: _Word | None
    edited_content: Any


class Context(TypedDict, total=False):
    """The message that a message quotes."""

    quoted_id: _Word | None
    quoted_author: Any


# `from` cannot be written as a field of a class.
Message = TypedDict(
    "Message",
    {
        "id": Required[Id],
        "type": Required[Id],
        "from_me": Required[bool],
        "from": Any,
        "chat_id": Any,
        "timestamp": Any,
        "status": _Word | None,
        "action": Action | None,
        "context": Context | None,
    },
    total=False,
)
Message.__doc__ = "One entry of `messages`; its content is in a field named after its type."
with_config(extra="allow")(Message)


@with_config(extra="allow")
class Version(TypedDict, total=False):
    """A message before or after an update; it may be incomplete."""

    type: str | None
    from_me: bool | None
    chat_id: Any
    status: _Word | None


@with_config(extra="allow")
class Trigger(TypedDict, total=False):
    """The message of type `action` that led to an update."""

    timestamp: Any
    action: Action | None


class Update(TypedDict, total=False):
    """One entry of `messages_updates`."""

    id: Required[Id]
    trigger: Trigger | None
    before_update: Version | None
    after_update: Version | None


read_channel_id = value_reader(TypeAdapter[str | None](_Word | None))
read_event = reader(Event)
read_status = reader(Status)
read_message = reader(Message)
read_update = reader(Update)
read_removed = value_reader(TypeAdapter(Id))

_ERROR: dict[str, tuple[type, ...]] = {"code": (int, str), "message": (str,), "details": (str,)}


def reason_of(errors: Any, unread: Unread) -> Reason | None:
    """Return why a message failed: the first or only one of `errors`, {code, message, details}."""
    if not errors:
        return None
    first = errors[0] if isinstance(errors, list) else errors
    if not first:
        return None
    if not isinstance(first, dict):
        unread["errors"] = Refused("wrong_type", "`errors` should be objects")
        return None
    given: dict[str, str] = {}
    for name, kinds in _ERROR.items():
        value = first.get(name)
        if type(value) in kinds:
            given[name] = str(value)
        elif value not in (None, [], {}):
            unread[f"errors.{name}"] = Refused("wrong_type", f"`errors.{name}` is of another type")
    text = ": ".join(given[name] for name in ("message", "details") if given.get(name))
    if not text and not given.get("code"):
        return None
    return Reason(code=given.get("code") or None, text=text or None)


def deletes(update: Update) -> bool:
    """Whether the deletion of its message caused an update."""
    trigger = update.get("trigger")
    action = trigger.get("action") if trigger else None
    if not action or action.get("type") != "delete":
        return False
    return action.get("target") in (None, "", update.get("id"))


def key_of(text: bytes, words: Collection[str]) -> str | None:
    """Return the data key whose entries have the shape of this one; None if there is none.

    Many objects have a `status`: that of a message has a time, and is one of the vendor's words.
    """
    if not text.startswith(b"{"):
        return None
    update, message = read_update(text)[0], read_message(text)[0]
    if update.get("id") and update.get("after_update"):
        return "messages_updates"
    if message.get("id") and message.get("type") and message.get("from_me") is not None:
        return "messages"
    status = read_status(text)[0]
    dated = status.get("timestamp") is not None
    return "statuses" if status.get("id") and status.get("status") in words and dated else None

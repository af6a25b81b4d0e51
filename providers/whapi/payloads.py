"""What Whapi.Cloud sends, as far as it is read (OpenAPI document 1.8.7, WebhookPayload).

A field typed `Any` has more than one shape in the wild; its reader says which.
"""

from typing import Annotated, Any, Required

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from providers.fields import MAX_ID, Id, reader

_Word = Annotated[str, Field(max_length=MAX_ID)]


class Event(TypedDict, total=False):
    """What the body is about. The document says `method`, live bodies say `event`."""

    type: str | None
    event: str | None
    method: str | None


class Error(TypedDict, total=False):
    """Why a message failed."""

    code: int | str | None
    message: str | None
    details: str | None


class Status(TypedDict, total=False):
    """One entry of `statuses`."""

    id: Required[Id]
    status: Required[Id]
    timestamp: Any
    recipient_id: Any
    viewer_id: Any
    errors: list[Error] | None


class Action(TypedDict, total=False):
    """What a message of type `action` does to another one."""

    type: Required[Id]
    target: Id | None
    edited_type: _Word | None
    edited_content: Any


class Context(TypedDict, total=False):
    """Which message a message quotes."""

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
Message.__doc__ = "One entry of `messages`; its content lies in a field named after its type."


@with_config(extra="allow")
class Version(TypedDict, total=False):
    """A message before or after an update; it need not be whole."""

    type: str | None
    from_me: bool | None
    chat_id: Any
    status: _Word | None


class Update(TypedDict, total=False):
    """One entry of `messages_updates`."""

    id: Required[Id]
    trigger: Any
    before_update: Version | None
    after_update: Version | None


read_channel_id = reader(TypeAdapter[str | None](_Word | None))
read_event = reader(TypeAdapter(Event))
read_status = reader(TypeAdapter(Status))
read_message = reader(TypeAdapter(with_config(extra="allow")(Message)))
read_update = reader(TypeAdapter(Update))
read_removed = reader(TypeAdapter(Id))

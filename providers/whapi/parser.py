"""Whapi.Cloud: statuses, messages and their changes on a WhatsApp channel. Pure.

A body is one object: data keys such as `statuses` or `messages`, beside `event` and `channel_id`.
Every data key is read whatever the event is called; what says nothing of a message is counted.
The verb `put` (catching up after being offline) tells the same facts as `post`, marked `catch_up`.
Sources: the vendor's OpenAPI document 1.8.7 (WebhookPayload) and its help desk, receiving/webhooks.
"""

import re
from contextlib import suppress
from functools import lru_cache
from typing import Any

from msgspec.json import encode
from msgspec.structs import replace

from providers import json_slices
from providers.contract import Ignored, Item, Outcomes, Part, Read
from providers.fields import MAX_ID, ignore, milliseconds, missing, phone, word
from providers.rejection import Refused
from providers.whapi import payloads
from providers.whapi.content import content_of
from schemas.accounts import NO_ACCOUNT
from schemas.records import (
    Direction,
    InboundObservation,
    Observation,
    Reason,
    Status,
    StatusObservation,
    message_key,
)
from schemas.webhook import RawWebhook

PROVIDER = "whapi"
CHANNEL = "whatsapp"

STATUSES: dict[str, Status] = {
    "failed": "failed",
    "pending": "queued",
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "played",
    "deleted": "deleted",
}

# What a message event may date. Its `timestamp` is when the message was written: a later status
# found in it (while catching up, say) happened at a time nobody tells.
_DATED = ("pending", "sent")

LEGACY_EVENTS = {"message": "messages", "ack": "statuses", "status": "statuses", "chat": "chats"}
EVENTS = frozenset(
    {
        *("messages", "statuses", "chats", "contacts", "groups", "presences", "calls"),
        *("channel", "users", "labels", "service"),
    }
)
VERBS = frozenset({"post", "put", "patch", "delete"})

# Data keys whose entries are read; the readers are `_Channel`'s methods of the same names.
READ = frozenset({"messages", "statuses", "messages_updates", "messages_removed"})

# Data keys of the OpenAPI document that say nothing of a message's status.
ASIDE = frozenset(
    {
        *("messages_removed_all", "chats", "chats_updates", "chats_removed"),
        *("contacts", "contacts_updates", "groups", "groups_participants", "groups_updates"),
        *("presences", "labels", "labels_removed", "calls", "qr", "health", "user", "errors"),
    }
)

_NULL = b"null"
_PERSONAL = re.compile(r"([0-9]+)@(?:s\.whatsapp\.net|c\.us)")
_SHARED = ("@g.us", "@newsletter", "@broadcast")
_STORIES = ("stories", "status@broadcast")
_EDITS = ("edit", "edited")

_KNOWN = READ | ASIDE
_once_in_body = json_slices.Once(
    "channel_id", "messages", "statuses", "messages_updates", "messages_removed"
)
_once_in_item = json_slices.Once(
    "id", "status", "timestamp", "type", "from_me", "from", "chat_id", "recipient_id", "viewer_id"
)

_DIRECTIONS: dict[bool | None, Direction] = {True: "outbound", False: "inbound", None: "unknown"}


def split(webhook: RawWebhook, text: bytes) -> list[Part]:
    """Cut a body into its items, in the order of its data keys."""
    if not text.startswith(b"{"):
        json_slices.refuse_unless_json(text)
        raise Refused("wrong_root", "the body should be an object")
    members = json_slices.members(text)
    _once_in_body(text)
    event = members.pop("event", _NULL)
    catch_up = _event(webhook, event)[1] == "put"
    channel = _channel(members.pop("channel_id", _NULL), catch_up=catch_up)
    data = {name: value for name, value in members.items() if value != _NULL}
    if _KNOWN.isdisjoint(data):
        return [Part("", text, ignore(_event_name(webhook, event)))]
    parts: list[Part] = []
    for name, value in data.items():
        parts += _parts(name, value, getattr(channel, name) if name in READ else ignore(name))
        json_slices.refuse_count(len(parts))
    return parts


def _parts(name: str, value: bytes, reader: Read) -> list[Part]:
    if not value.startswith(b"["):
        return [Part(f"/{name}", value, reader)]
    return [
        Part(f"/{name}/{index}", element, reader)
        for index, element in enumerate(json_slices.elements(value))
    ]


def _event_name(webhook: RawWebhook, event: bytes) -> str:
    """`<type>.<verb>`."""
    kind, verb = _event(webhook, event)
    if not kind:
        raise Refused("wrong_root", "the body has neither an event nor a data key we know")
    return f"{LEGACY_EVENTS.get(kind, kind)}.{verb}"


def _event(webhook: RawWebhook, event: bytes) -> tuple[str | None, str]:
    """An event's type and verb: the body's, else the URL's and HTTP's (modes path and method)."""
    told = _told(event) if len(event) <= _SHORT else _read_event(event)
    kind, verb = _from_url(webhook.path)
    verb = told.get("event") or told.get("method") or verb or webhook.method.lower()
    return told.get("type") or kind, verb


def _read_event(event: bytes) -> payloads.Event:
    try:
        return payloads.read_event(event)
    except Refused:
        return {}


# There are few events, channels and paths, each in a million webhooks.
_SHORT = 256
_told = lru_cache(maxsize=256)(_read_event)


def _channel(told: bytes, *, catch_up: bool) -> "_Channel":
    read = _short_channel if len(told) <= _SHORT else _read_channel
    return read(told, catch_up=catch_up)


def _read_channel(told: bytes, *, catch_up: bool) -> "_Channel":
    return _Channel(payloads.read_channel_id(told) or None, catch_up=catch_up)


_short_channel = lru_cache(maxsize=1024)(_read_channel)


@lru_cache(maxsize=256)
def _from_url(path: str) -> tuple[str | None, str | None]:
    """The event's type and verb in a path such as `/messages/post` or `/statuses`."""
    steps = [step for step in path.partition("?")[0].split("/") if step]
    verb = steps.pop().lower() if steps and steps[-1].lower() in VERBS else None
    known = bool(steps) and (steps[-1] in EVENTS or steps[-1] in LEGACY_EVENTS)
    return (steps[-1] if known else None), verb


def _party(value: Any, name: str) -> str | None:
    """Whoever it is: a phone number as digits; a group, channel or lid as it is."""
    if isinstance(value, dict):  # consumers also saw {"id": …, "name": …}
        value = value.get("id")
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refused("wrong_type", f"`{name}` should be a string")
    if len(value) > MAX_ID:
        raise Refused("bad_value", f"`{name}` is longer than {MAX_ID} characters")
    personal = _PERSONAL.fullmatch(value)
    return personal[1] if personal else phone(value)


def _is_shared(chat: str | None) -> bool:
    """Whether a chat has many readers: a group, a channel, stories."""
    return chat is not None and (chat == "stories" or chat.endswith(_SHARED))


def _has_receipts(chat: str | None) -> bool:
    """Whether receipts are to be waited for: a channel has none, a story those of who looks."""
    return chat is None or not (chat in _STORIES or chat.endswith("@newsletter"))


def _reason(errors: list[payloads.Error] | None) -> Reason | None:
    if not errors:
        return None
    first = errors[0]
    text = ": ".join(part for part in (first.get("message"), first.get("details")) if part)
    code = first.get("code")
    if code is None and not text:
        return None
    return Reason(code=None if code is None else str(code), text=text or None)


class _Channel:
    """The readers of one channel's items, named after the data keys they read."""

    def __init__(self, channel_id: str | None, *, catch_up: bool) -> None:
        self.channel_id = channel_id
        self.catch_up = catch_up

    def statuses(self, item: Item) -> Outcomes:
        """One entry of `statuses`. It does not tell whose message it is about."""
        told = payloads.read_status(item.json)
        _once_in_item(item.json)
        recipient = _party(told.get("recipient_id"), "recipient_id")
        viewer = _party(told.get("viewer_id"), "viewer_id")
        status = self._status(
            item,
            told["id"],
            told["status"],
            recipient=recipient,
            # In a personal chat the viewer is the recipient: one ladder, not two.
            viewer=viewer if recipient is None or _is_shared(recipient) else None,
            occurred_at=milliseconds(told.get("timestamp"), "timestamp"),
            reason=_reason(told.get("errors")),
        )
        return (status,)

    def messages(self, item: Item) -> Outcomes:
        """One entry of `messages`: ours, somebody's, or something done to an earlier one."""
        told = payloads.read_message(item.json)
        _once_in_item(item.json)
        if told["type"] == "action":
            return (self._action(item, told),)
        content = content_of(told["type"], told)
        outcomes: list[Observation | Ignored] = []
        if not told["from_me"]:
            outcomes.append(self._inbound(item, told, content))
        if status := told.get("status"):
            outcomes.append(self._carried(item, told, status, content))
        # The vendor gives the state in `status`; without it any state would be a guess.
        return outcomes or (Ignored("messages.no_status"),)

    def _carried(
        self, item: Item, told: payloads.Message, status: str, content: dict[str, Any]
    ) -> StatusObservation:
        """The status a message event carries."""
        chat = _party(told.get("chat_id"), "chat_id")
        written_at = milliseconds(told.get("timestamp"), "timestamp")
        return self._status(
            item,
            told["id"],
            status,
            direction="outbound" if told["from_me"] else "inbound",
            recipient=chat if told["from_me"] or _is_shared(chat) else None,
            occurred_at=written_at if status in _DATED else None,
            content=content,
        )

    def _inbound(
        self, item: Item, told: payloads.Message, content: dict[str, Any]
    ) -> InboundObservation:
        """A message by somebody else.

        A personal chat is named after the other side, which is the sender: our own number, the
        recipient, is not told. In a group or channel the recipient is the chat.
        """
        chat = _party(told.get("chat_id"), "chat_id")
        shared = _is_shared(chat)
        sender = _party(told.get("from"), "from") or (None if shared else chat)
        account = self._account(item)
        return InboundObservation(
            message_key=message_key(PROVIDER, account, told["id"]),
            provider=PROVIDER,
            account=account or NO_ACCOUNT,
            source=item.source,
            message_id=told["id"],
            in_reply_to=None
            if shared or chat is None
            else self._answered(told.get("context"), sender, account),
            channel=CHANNEL,
            gateway=CHANNEL,
            sender=sender,
            recipient=chat if shared else None,
            content=content,
            occurred_at=milliseconds(told.get("timestamp"), "timestamp"),
            received_at=item.webhook.received_at,
            raw=item.raw,
            catch_up=self.catch_up,
        )

    def _answered(
        self, context: payloads.Context | None, sender: str | None, account: str | None
    ) -> str | None:
        """The message of ours that is quoted; people quote themselves too."""
        quoted = context.get("quoted_id") if context else None
        if context is None or not quoted:
            return None
        author = _party(context.get("quoted_author"), "context.quoted_author")
        if author is not None and author == sender:
            return None
        return message_key(PROVIDER, account, quoted)

    def _action(self, item: Item, told: payloads.Message) -> Observation | Ignored:
        """An action on another message: a deletion changes its status, an edit its content."""
        action = told.get("action") or missing("action")
        # The target may also be a chat (OpenAPI document); a message id never holds an @.
        target = action.get("target")
        if action["type"] in _EDITS and target and "@" not in target and not told["from_me"]:
            return self._edited(item, told, action, target)
        if action["type"] != "delete" or target is None or "@" in target:
            return Ignored(f"messages.action.{word(action['type'])}")
        return self._status(
            item,
            target,
            "deleted",
            recipient=_party(told.get("chat_id"), "chat_id"),
            occurred_at=milliseconds(told.get("timestamp"), "timestamp"),
        )

    def _edited(
        self, item: Item, told: payloads.Message, action: payloads.Action, target: str
    ) -> InboundObservation | Ignored:
        """An earlier message of the sender's own, with its new content."""
        kind = action.get("edited_type") or "text"
        content = content_of(kind, {kind: action.get("edited_content")})
        if len(content) == 1:
            return Ignored(f"messages.action.{word(action['type'])}")
        edit = self._inbound(item, told, content)
        return replace(
            edit,
            message_key=message_key(PROVIDER, self._account(item), target),
            message_id=target,
            in_reply_to=None,
            occurred_at=None,
            edited_at=edit.occurred_at or edit.received_at,
        )

    def messages_updates(self, item: Item) -> Outcomes:
        """One entry of `messages_updates`: a new status, or an edit. When it happened is not told.

        `after_update.timestamp` is when the message was written.
        """
        told = payloads.read_update(item.json)
        _once_in_item(item.json)
        after = told.get("after_update") or missing("after_update")
        before = told.get("before_update") or {}
        new, kind = after.get("status"), after.get("type")
        if not new or new == before.get("status"):
            return (self._updated(item, told.get("trigger")),)
        status = self._status(
            item,
            told["id"],
            new,
            direction=_DIRECTIONS[after.get("from_me")],
            recipient=_party(after.get("chat_id"), "after_update.chat_id"),
            content=content_of(kind, after) if kind else None,
        )
        return (status,)

    def _updated(self, item: Item, trigger: Any) -> InboundObservation | Ignored:
        """An update without a new status: an edit by the sender is the action that caused it."""
        with suppress(Refused):
            told = payloads.read_message(encode(trigger))
            done = self._action(item, told) if told["type"] == "action" else None
            if isinstance(done, InboundObservation):
                return done
        return Ignored("messages_updates")

    def messages_removed(self, item: Item) -> Outcomes:
        """One entry of `messages_removed`: the id of a message that was deleted."""
        removed = payloads.read_removed(item.json)
        return (self._status(item, removed, "deleted"),)

    def _account(self, item: Item) -> str | None:
        return self.channel_id or item.account

    def _status(self, item: Item, message_id: str, status: str, **told: Any) -> StatusObservation:
        account = self._account(item)
        return StatusObservation(
            message_key=message_key(PROVIDER, account, message_id),
            provider=PROVIDER,
            account=account or NO_ACCOUNT,
            source=item.source,
            message_id=message_id,
            channel=CHANNEL,
            gateway=CHANNEL,
            status=STATUSES.get(status, "unknown"),
            provider_status=status,
            received_at=item.webhook.received_at,
            raw=item.raw,
            catch_up=self.catch_up,
            receipts=_has_receipts(told.get("recipient")),
            **told,
        )

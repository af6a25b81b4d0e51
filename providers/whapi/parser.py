"""Whapi.Cloud: statuses, messages and their changes on a WhatsApp channel. Pure.

A body is one object: data keys such as `statuses` or `messages`, next to `event` and `channel_id`.
Every data key is read, whatever the event's name is; items that are not about messages are counted.
An item under a deprecated or unknown data key is read if it has the shape of a status or message.
The verb `put` (catching up after being offline) reports the facts of `post`, marked `catch_up`.
Sources: the vendor's OpenAPI document 1.8.7 (WebhookPayload) and its help desk, receiving/webhooks.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, cast

from msgspec.json import encode
from msgspec.structs import replace

from providers import json_slices
from providers.contract import Ignored, Item, Outcomes, Part, Read
from providers.fields import Unread, drop, ignore, is_empty, missing, noted, occurred, word
from providers.rejection import Refused
from providers.status_words import status_of
from providers.whapi import payloads
from providers.whapi.content import content_of
from providers.whapi.events import (
    LEGACY_EVENTS,
    SHORT,
    SILENT,
    SPEAKING,
    event_name,
    event_of,
    has_own_key,
)
from providers.whapi.parties import (
    has_receipts,
    is_shared,
    is_stories,
    party,
    quoted,
    reader_of,
)
from schemas.accounts import NO_ACCOUNT
from schemas.records import (
    Direction,
    InboundObservation,
    Observation,
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

# The statuses whose time a message event gives. Its `timestamp` is when the message was written:
# the time of a later status in it (while catching up, say) is unknown.
_DATED = ("pending", "sent")

# Data keys whose entries are read; the readers are `_Channel`'s methods of the same names.
READ = frozenset({"messages", "statuses", "messages_updates", "messages_removed"})

# Data keys of the OpenAPI document that hold no status of a message.
ASIDE = frozenset(
    {
        *("messages_removed_all", "chats", "chats_updates", "chats_removed"),
        *("contacts", "contacts_updates", "groups", "groups_participants", "groups_updates"),
        *("presences", "labels", "labels_removed", "calls", "qr", "health", "user", "errors"),
    }
)

_NULL = b"null"
_PINS = ("pin", "unpin")
_EDITS = ("edit", "edited")
_BY_VERB = {"patch": "messages_updates", "delete": "messages_removed"}

_KNOWN = READ | ASIDE
_once_in_body = json_slices.Once(
    "channel_id", "messages", "statuses", "messages_updates", "messages_removed"
)
_once_in_status = json_slices.Once("id", "status", "timestamp", "recipient_id", "viewer_id")
_once_in_message = json_slices.Once(
    "id", "type", "from_me", "from", "chat_id", "timestamp", "status", "action"
)
_once_in_update = json_slices.Once("id", "trigger", "after_update")

_DIRECTIONS: dict[bool | None, Direction] = {True: "outbound", False: "inbound", None: "unknown"}


def split(webhook: RawWebhook, text: bytes) -> list[Part]:
    """Cut a body into its items, in the order of its data keys."""
    if not text.startswith(b"{"):
        json_slices.refuse_unless_json(text)
        raise Refused("wrong_root", "the body should be an object")
    members = json_slices.members(text)
    _once_in_body(text)
    kind, verb = event_of(webhook, members.pop("event", _NULL))
    channel = _channel(members.pop("channel_id", _NULL), catch_up=verb == "put")
    data = {
        name: value
        for name, value in members.items()
        if len(value) > len(_NULL) or not _is_absent(name, value)
    }
    if _KNOWN.isdisjoint(data) and (kind in SILENT or not any(map(_holds_items, data.values()))):
        return [Part("", text, ignore(event_name(kind, verb, members)))]
    parts: list[Part] = []
    for name, value in data.items():
        if name in _KNOWN:
            read = getattr(channel, name) if name in READ else ignore(name)
            parts += _parts(name, value, read)
        else:
            parts += _parts(word(name), value, _reader(channel, name, data, kind, verb))
        json_slices.refuse_count(len(parts))
    return parts


def _is_absent(name: str, value: bytes) -> bool:
    return value == _NULL or (name in READ and value in (b'""', b"{}"))


def _holds_items(value: bytes) -> bool:
    return value.startswith((b"{", b"[")) and not is_empty(value)


def _parts(name: str, value: bytes, reader: Read) -> list[Part]:
    if not value.startswith(b"["):
        return [Part(f"/{name}", value, reader)]
    return [
        Part(f"/{name}/{index}", element, reader)
        for index, element in enumerate(json_slices.elements(value))
    ]


def _reader(
    channel: "_Channel", name: str, data: Mapping[str, bytes], kind: str | None, verb: str
) -> Read:
    """Return the reader of the items under a deprecated or unknown data key."""
    if kind in SILENT or not _holds_items(data[name]):
        return ignore(name)
    if kind is not None and LEGACY_EVENTS.get(name) == kind:
        return channel.reader(_BY_VERB.get(verb, kind) if kind == "messages" else kind)
    if kind in SPEAKING and not has_own_key(kind, data):
        return channel.by_shape(_refuse_shape)
    if kind is None and _KNOWN.isdisjoint(data):
        return channel.by_shape(_refuse_shape)
    return channel.by_shape(ignore(f"{kind}.{verb}" if _KNOWN.isdisjoint(data) else name))


def _refuse_shape(_: Item) -> Outcomes:
    raise Refused("wrong_root", "its data key is unknown, and it has no shape that is known")


# There are few channels, each in a million webhooks.
def _channel(given: bytes, *, catch_up: bool) -> "_Channel":
    read = _short_channel if len(given) <= SHORT else _read_channel
    return read(given, catch_up=catch_up)


def _read_channel(given: bytes, *, catch_up: bool) -> "_Channel":
    channel_id = None if is_empty(given) else payloads.read_channel_id(given)
    return _Channel(channel_id, catch_up=catch_up)


_short_channel = lru_cache(maxsize=1024)(_read_channel)


class _Channel:
    """The readers of one channel's items, named after the data keys they read."""

    def __init__(self, channel_id: str | None, *, catch_up: bool) -> None:
        self.channel_id = channel_id
        self.catch_up = catch_up

    def reader(self, name: str) -> Read:
        """Return the reader of the items under a data key."""
        return cast("Read", getattr(self, name)) if name in READ else ignore(name)

    def by_shape(self, otherwise: Read) -> Read:
        """Return a reader that chooses by the shape of an item, if its data key is unknown."""

        def read(item: Item) -> Outcomes:
            name = payloads.key_of(item.json, STATUSES)
            return (self.reader(name) if name else otherwise)(item)

        return read

    def statuses(self, item: Item) -> Outcomes:
        """Read one entry of `statuses`. It does not name the sender of the message."""
        given, unread = payloads.read_status(item.json)
        if twice := _once_in_status.repeated(item.json):
            drop(twice, given, unread)
        message_id = given.get("id") or missing("id", unread)
        status = given.get("status") or missing("status", unread)
        recipient, viewer = reader_of(given, unread)
        return (
            self._status(
                item,
                unread,
                message_id,
                status,
                recipient=recipient,
                viewer=viewer,
                occurred_at=occurred(
                    given.get("timestamp"), "timestamp", item.webhook.received_at, unread
                ),
                reason=payloads.reason_of(given.get("errors"), unread),
            ),
        )

    def messages(self, item: Item) -> Outcomes:
        """Read one entry of `messages`: an outbound or inbound one, or an action on another one."""
        given, unread = payloads.read_message(item.json)
        if twice := _once_in_message.repeated(item.json):
            drop(twice, given, unread)
        message_id = given.get("id") or missing("id", unread)
        kind = given.get("type") or missing("type", unread)
        ours = given.get("from_me")
        if ours is None:
            missing("from_me", unread)
        if kind == "action":
            return (self._action(item, given, unread),)
        if kind in _PINS:
            return (Ignored(f"messages.{kind}"),)
        chat = party(given.get("chat_id"), "chat_id", unread)
        if not ours and not item.stories and (kind == "story" or is_stories(chat)):
            return (Ignored("messages.story"),)
        content = content_of(kind, given, unread)
        outcomes: list[Observation | Ignored] = []
        if not ours:
            outcomes.append(
                self._inbound(
                    item, given, unread, message_id=message_id, chat=chat, content=content
                )
            )
        elif "status" in unread:
            missing("status", unread)
        if status := given.get("status"):
            # The time of the message is that of its sending; no later status has it.
            time = _time(given, item, unread) if status in _DATED else None
            outcomes.append(
                self._status(
                    item,
                    unread,
                    message_id,
                    status,
                    direction=_DIRECTIONS[ours],
                    recipient=chat if ours or is_shared(chat) else None,
                    occurred_at=time,
                    content=content,
                )
            )
        # The vendor gives the state in `status`; without it the state is unknown.
        return outcomes or (Ignored("messages.no_status"),)

    def _inbound(
        self,
        item: Item,
        given: payloads.Message,
        unread: Unread,
        *,
        message_id: str,
        chat: str | None,
        content: dict[str, Any],
    ) -> Observation:
        """Return the observation of an inbound message.

        A personal chat has the name of the other party, which is the sender: the recipient, the
        account's own number, is not given. In a group or channel the recipient is the chat.
        """
        shared = is_shared(chat)
        sender = party(given.get("from"), "from", unread) or (None if shared else chat)
        if sender is None:
            for name in ("from", "chat_id"):
                if name in unread:
                    missing(name, unread)
        account = self._account(item)
        context = None if shared or not chat else given.get("context")
        answered = quoted(context, (sender, chat), unread)
        made = InboundObservation(
            message_key=message_key(PROVIDER, account, message_id),
            provider=PROVIDER,
            account=account or NO_ACCOUNT,
            source=item.source,
            message_id=message_id,
            in_reply_to=message_key(PROVIDER, account, answered) if answered else None,
            channel=CHANNEL,
            gateway=CHANNEL,
            sender=sender,
            recipient=chat if shared else None,
            content=content,
            occurred_at=occurred(
                given.get("timestamp"), "timestamp", item.webhook.received_at, unread
            ),
            received_at=item.webhook.received_at,
            raw=item.raw,
            catch_up=self.catch_up,
        )
        return noted(made, unread) if unread else made

    def _action(self, item: Item, given: payloads.Message, unread: Unread) -> Observation | Ignored:
        """Read an action on another message: a deletion changes its status, an edit its content."""
        action = given.get("action")
        if action is None:
            missing("action", unread)
        kind = action.get("type") or missing("action.type", unread)
        if kind in _EDITS and not given.get("from_me"):
            return self._edited(item, given, action, unread)
        if kind != "delete":
            return Ignored(f"messages.action.{word(kind)}")
        target = action.get("target") or missing("action.target", unread)
        # The target may also be a chat (OpenAPI document); a message id never holds an @.
        if "@" in target:
            return Ignored("messages.action.delete")
        return self._status(
            item,
            unread,
            target,
            "deleted",
            recipient=party(given.get("chat_id"), "chat_id", unread),
            occurred_at=occurred(
                given.get("timestamp"), "timestamp", item.webhook.received_at, unread
            ),
        )

    def _edited(
        self, item: Item, given: payloads.Message, action: payloads.Action, unread: Unread
    ) -> Observation | Ignored:
        """Return the edited message, an earlier one by the same sender, with its new content."""
        target, kind = action.get("target"), action.get("edited_type") or "text"
        if "action.target" in unread:
            missing("action.target", unread)
        content = content_of(kind, {kind: action.get("edited_content")}, unread)
        if not target or "@" in target or len(content) == 1:
            return Ignored(f"messages.action.{word(action['type'])}")
        chat = party(given.get("chat_id"), "chat_id", unread)
        edit = cast(
            "InboundObservation",
            self._inbound(item, given, unread, message_id=target, chat=chat, content=content),
        )
        at = edit.occurred_at or edit.received_at
        return replace(edit, in_reply_to=None, occurred_at=None, edited_at=at)

    def messages_updates(self, item: Item) -> Outcomes:
        """Read one entry of `messages_updates`: a new status, a deletion, or an edit.

        The time of the change is unknown: `after_update.timestamp` is when the message was written.
        """
        given, unread = payloads.read_update(item.json)
        if twice := _once_in_update.repeated(item.json):
            drop(twice, given, unread)
        message_id = given.get("id") or missing("id", unread)
        after, before = given.get("after_update") or {}, given.get("before_update") or {}
        new, kind, time, content = after.get("status"), after.get("type"), None, None
        if payloads.deletes(given):
            deleted_at = (given.get("trigger") or {}).get("timestamp")
            time = occurred(deleted_at, "trigger.timestamp", item.webhook.received_at, unread)
            new = "deleted"
        elif given.get("after_update") is None:
            missing("after_update", unread)
        elif "after_update.status" in unread:
            missing("after_update.status", unread)
        elif not new or new == before.get("status"):
            return (self._updated(item, given.get("trigger"), unread),)
        elif kind:
            content = content_of(kind, after, unread)
        status = self._status(
            item,
            unread,
            message_id,
            new,
            direction=_DIRECTIONS[after.get("from_me")],
            recipient=party(after.get("chat_id"), "after_update.chat_id", unread),
            occurred_at=time,
            content=content,
        )
        return (status,)

    def _updated(self, item: Item, trigger: Any, unread: Unread) -> Observation | Ignored:
        """Read an update without a new status: the action behind it may be the sender's edit."""
        with suppress(Refused, TypeError):
            given, odd = payloads.read_message(encode(trigger))
            done = self._action(item, given, odd) if given.get("type") == "action" else None
            if isinstance(done, InboundObservation):
                return done
        return _unchanged(unread)

    def messages_removed(self, item: Item) -> Outcomes:
        """Read one entry of `messages_removed`: the id of a message that was deleted."""
        removed = payloads.read_removed(item.json)
        return (self._status(item, {}, removed, "deleted"),)

    def _account(self, item: Item) -> str | None:
        return self.channel_id or item.account

    def _status(
        self, item: Item, unread: Unread, message_id: str, status: str, **given: Any
    ) -> Observation:
        account = self._account(item)
        made = StatusObservation(
            message_key=message_key(PROVIDER, account, message_id),
            provider=PROVIDER,
            account=account or NO_ACCOUNT,
            source=item.source,
            message_id=message_id,
            channel=CHANNEL,
            gateway=CHANNEL,
            status=status_of(status, STATUSES),
            provider_status=status,
            received_at=item.webhook.received_at,
            raw=item.raw,
            catch_up=self.catch_up,
            receipts=has_receipts(given.get("recipient")),
            **given,
        )
        return noted(made, unread) if unread else made


def _time(given: Any, item: Item, unread: Unread) -> int | None:
    return occurred(given.get("timestamp"), "timestamp", item.webhook.received_at, unread)


def _unchanged(unread: Unread) -> Ignored:
    """Ignore an update without a new status; refuse an unreadable one: it may be a deletion."""
    for name in ("trigger", "trigger.action", "trigger.action.type", "trigger.action.target"):
        if name in unread:
            missing(name, unread)
    return Ignored("messages_updates")

"""The event of a Whapi body: its type and verb, from the body, the URL or the HTTP method. Pure.

Sources: the vendor's OpenAPI document 1.8.7 (WebhookPayload, Event) and detailed-webhook-settings.
"""

from collections.abc import Mapping
from functools import lru_cache

from providers.fields import is_empty
from providers.rejection import Refused
from providers.whapi import payloads
from schemas.webhook import RawWebhook

LEGACY_EVENTS = {"message": "messages", "ack": "statuses", "status": "statuses", "chat": "chats"}
EVENTS = frozenset(
    {
        *("messages", "statuses", "chats", "contacts", "groups", "presences", "calls"),
        *("channel", "users", "labels", "service"),
    }
)
VERBS = frozenset({"post", "put", "patch", "delete"})

# Events about messages: the items under an unknown data key of their bodies are not ignored.
SPEAKING = frozenset({"messages", "statuses"})
SILENT = EVENTS - SPEAKING
_MESSAGES = frozenset({"messages_updates", "messages_removed", "messages_removed_all"})
_KEYS = SPEAKING | _MESSAGES | LEGACY_EVENTS.keys()

SHORT = 256
"""There are few events, paths and channels, each in a million webhooks: short ones are cached."""


def event_of(webhook: RawWebhook, event: bytes) -> tuple[str | None, str]:
    """Return an event's type and verb: the body's, else those of URL and method (the modes)."""
    read = _short_event if len(event) <= SHORT and len(webhook.path) <= SHORT else _event
    return read(event, webhook.path, webhook.method)


def _event(event: bytes, path: str, method: str) -> tuple[str | None, str]:
    given = _read(event)
    kind, verb = _from_url(path)
    verb = given.get("event") or given.get("method") or verb or method.lower()
    kind = given.get("type") or kind
    return (LEGACY_EVENTS.get(kind, kind) if kind else None), verb


_short_event = lru_cache(maxsize=256)(_event)


def _read(event: bytes) -> payloads.Event:
    try:
        return payloads.read_event(event)[0]
    except Refused:
        return {}


def _from_url(path: str) -> tuple[str | None, str | None]:
    """Return the event's type and verb in a path such as `/messages/post` or `/statuses`."""
    steps = [step for step in path.partition("?")[0].split("/") if step]
    verb = steps.pop().lower() if steps and steps[-1].lower() in VERBS else None
    known = bool(steps) and (steps[-1] in EVENTS or steps[-1] in LEGACY_EVENTS)
    return (steps[-1] if known else None), verb


def event_name(kind: str | None, verb: str, members: Mapping[str, bytes]) -> str:
    """Return `<type>.<verb>` of a body without items, given all its members."""
    if not kind:
        raise Refused("wrong_root", "the body has neither an event nor a data key we know")
    empty = not members or any(name in _KEYS and is_empty(members[name]) for name in members)
    if kind in SPEAKING and not empty:
        raise Refused("wrong_root", f"the event is `{kind}`, and no data key is known")
    return f"{kind}.{verb}"


def has_own_key(kind: str | None, members: Mapping[str, bytes]) -> bool:
    """Whether a body has its event's data key, under its current name or a deprecated one."""
    keys = {LEGACY_EVENTS.get(name, name) for name in members}
    return kind in keys or (kind == "messages" and not _MESSAGES.isdisjoint(keys))

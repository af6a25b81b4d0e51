"""An observation without the personal data that the policy of its namespace excludes. Pure.

It is the only place that applies the policy (decision 31): whatever is derived from observations
never holds a clear value. The same observation and policy always give the same result.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import fields, replace

from schemas.content import OPEN, Contact, Content
from schemas.field_notes import Personal, personal_fields
from schemas.privacy import Key, Policy, Privacy, hashed_id, hashed_number, hashed_viewer
from schemas.records import InboundObservation, Observation, StatusObservation

# Longer runs of digits, also with separators, may be a phone number. Shorter ones are codes.
_LONG_NUMBER = re.compile(r"\+?[0-9](?:[ ()./-]*[0-9]){6,}")
_HIDDEN = "…"

# An id with this character names a chat, and with it a phone number.
_OF_A_CHAT = "@"

_PERSONAL: Mapping[type[Observation], dict[str, Personal]] = {
    one: personal_fields(one) for one in (StatusObservation, InboundObservation)
}
_KNOWN: Mapping[type[Any], frozenset[str]] = {
    one: frozenset(f.encode_name for f in fields(one)) for one in (Content, Contact)
}
_MARKS: Mapping[type[Any], dict[str, Personal]] = {
    one: personal_fields(one) for one in (Content, Contact)
}


def protected(observation: Observation, privacy: Privacy) -> Observation:
    """Return the observation to publish under a policy."""
    if privacy.policy.keeps_all:
        return observation
    key = privacy.at(observation.received_at) if privacy.policy.needs_key else None
    changed = {
        name: _field(name, kind, value, privacy.policy, key)
        for name, kind in _PERSONAL[type(observation)].items()
        if (value := getattr(observation, name)) is not None
    }
    if key is not None:
        changed |= _ids(observation, key)
        if isinstance(observation, StatusObservation):
            changed |= _viewer(observation, changed, privacy.policy, key)
            changed |= _words(observation, privacy.policy)
    return replace(observation, **changed)


def _field(name: str, kind: Personal, value: Any, policy: Policy, key: Key | None) -> Any:
    if name in OPEN:
        return _content(value, OPEN[name], policy, key)
    choice = _choice(kind, policy)
    if choice == "keep":
        return value
    return _hashed(value, key) if choice == "hash" and key is not None else None


def _choice(kind: Personal, policy: Policy) -> str:
    if kind == "number":
        return policy.numbers
    if kind == "text":
        return policy.texts
    return policy.payload if kind == "any" else "keep"


def _content(
    content: Mapping[str, Any], shape: type[Any], policy: Policy, key: Key | None
) -> dict[str, Any]:
    """Return a mapping without the excluded fields; an unknown field counts as a text."""
    kept: dict[str, Any] = {}
    for name, value in content.items():
        kind: Personal = _MARKS[shape].get(name, "") if name in _KNOWN[shape] else "text"
        if name == "contacts" and policy.numbers == "hash":
            kept[name] = [_content(one, Contact, policy, key) for one in value]
        elif (found := _field(name, kind, value, policy, key)) is not None:
            kept[name] = found
    return kept


def _hashed(value: Any, key: Key) -> Any:
    if isinstance(value, list):
        return [_hashed(one, key) for one in value]
    return hashed_number(key, str(value))


def _ids(observation: Observation, key: Key) -> dict[str, Any]:
    """Return the ids that would lead to a number: those made from content, or that name a chat.

    Which ids these are follows from the id alone, so all reports of a message have the same key.
    """
    changed: dict[str, Any] = {}
    provider_account, own = _split(observation.message_key)
    if observation.message_id is None or _OF_A_CHAT in own:
        changed["message_key"] = f"{provider_account}{hashed_id(key, own)}"
    if observation.message_id is not None and _OF_A_CHAT in observation.message_id:
        changed["message_id"] = hashed_id(key, observation.message_id)
    if isinstance(observation, InboundObservation) and observation.in_reply_to is not None:
        provider_account, answered = _split(observation.in_reply_to)
        if _OF_A_CHAT in answered:
            changed["in_reply_to"] = f"{provider_account}{hashed_id(key, answered)}"
    return changed


def _split(message_key: str) -> tuple[str, str]:
    provider, account, message_id = message_key.split("/", 2)
    return f"{provider}/{account}/", message_id


def _viewer(
    observation: StatusObservation, changed: Mapping[str, Any], policy: Policy, key: Key
) -> dict[str, Any]:
    """Return the viewer's hash under `numbers:omit`, another one for each message.

    A viewer is part of a fact's identity: without one, the receipt of one member of a group would
    be a receipt of the message itself.
    """
    if policy.numbers != "omit" or observation.viewer is None:
        return {}
    message_key = changed.get("message_key", observation.message_key)
    return {"viewer": hashed_viewer(key, observation.viewer, message_key)}


def _words(observation: StatusObservation, policy: Policy) -> dict[str, Any]:
    """Return the provider's free texts without long numbers."""
    if policy.numbers == "keep":
        return {}
    changed: dict[str, Any] = {}
    if observation.status == "unknown":
        changed["provider_status"] = without_numbers(observation.provider_status)
    if observation.reason is not None and observation.reason.text:
        text = without_numbers(observation.reason.text)
        changed["reason"] = replace(observation.reason, text=text)
    return changed


def without_numbers(text: str) -> str:
    """Return a text in which `…` stands for each run of seven or more digits."""
    return _LONG_NUMBER.sub(_HIDDEN, text)

"""Webhooks for tests: a body in, its results out."""

import json
from typing import Any

import msgspec

from processors.normalising.webhook_to_observations import normalise
from providers.contract import Normalised
from schemas.coordinates import Coordinates
from schemas.privacy import NO_PRIVACY, Privacy
from schemas.records import InboundObservation, Observation, StatusObservation
from schemas.webhook import RawWebhook

AT = Coordinates("bluetick.raw.test", 3, 41)
RECEIVED_AT = 1_763_900_001_234


def webhook(provider: str, body: Any, **rest: Any) -> RawWebhook:
    """A webhook with a body: bytes as they are, anything else as JSON."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return RawWebhook(
        id="w-1", source=provider, provider=provider, body=text, received_at=RECEIVED_AT, **rest
    )


def changed(entry: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """An entry of a body; a field changed to `...` is left out."""
    return {k: v for k, v in (entry | changes).items() if v is not ...}


def result_of(
    provider: str,
    body: Any,
    *,
    stories: bool = False,
    privacy: Privacy = NO_PRIVACY,
    **rest: Any,
) -> Normalised:
    return normalise(webhook(provider, body, **rest), AT, stories=stories, privacy=privacy)


def fields(observation: Observation) -> dict[str, Any]:
    """Return an observation as on the wire: unknown fields are absent."""
    return dict(msgspec.to_builtins(observation))


def one_status(provider: str, body: Any, **rest: Any) -> StatusObservation:
    """Return the only result of a body, which is a status."""
    result = result_of(provider, body, **rest)
    assert not result.dead_letters
    (observation,) = result.observations
    assert isinstance(observation, StatusObservation)
    return observation


def one_inbound(provider: str, body: Any, **rest: Any) -> InboundObservation:
    """Return the only result of a body, which is an inbound message."""
    result = result_of(provider, body, **rest)
    assert not result.dead_letters
    (observation,) = result.observations
    assert isinstance(observation, InboundObservation)
    return observation


def outcome(result: Normalised) -> tuple[int, list[tuple[str, str]], dict[str, int]]:
    """How many observations, which dead letters (code, pointer), what was ignored."""
    letters: list[tuple[str, str]] = [
        (letter.code, letter.pointer) for letter in result.dead_letters
    ]
    return len(result.observations), letters, dict(result.ignored)

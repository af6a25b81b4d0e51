"""`bluetick parse`: normalise one body, without a broker."""

import msgspec

from cli.options import Request
from cli.output.jsonl import print_json
from cli.providers import providers
from cli.simulator.files import STDIN, read_body
from cli.simulator.requests import headers_of
from processors.normalising.webhook_to_observations import normalise
from providers.contract import Normalised
from schemas.codec import encode
from schemas.coordinates import Coordinates
from schemas.webhook import KEPT_HEADERS, RawWebhook
from service.settings import load
from service.wall_clock import now_ms

_NOWHERE = Coordinates("parse", 0, 0)


def run(
    provider: str,
    file: str = STDIN,
    request: Request = Request(),  # noqa: B008 - frozen
    *,
    received_at: int | None = None,
) -> int:
    """Print observations, dead letters and ignored counts of a body, one JSON object a line.

    An observation is printed as on its topic, a dead letter as
    {"dead_letter": {code, reason, pointer}}, ignored events as {"ignored": {event: count}}.
    `received_at` is Unix milliseconds (default: now).
    Returns 0 if there are no dead letters, else 1.
    """
    providers(provider)
    given = headers_of(request.header or ())
    webhook = RawWebhook(
        id="",
        source=provider,
        provider=provider,
        body=read_body(file),
        received_at=now_ms() if received_at is None else received_at,
        method=request.method.upper(),
        path=request.path,
        content_type=given.get("content-type", "application/json"),
        headers={name: value for name, value in given.items() if name in KEPT_HEADERS},
    )
    settings = load()
    result = normalise(
        webhook, _NOWHERE, stories=settings.stories, privacy=settings.privacy_in_force
    )
    print_json(*values(result))
    return 1 if result.dead_letters else 0


def values(result: Normalised) -> list[object]:
    """Return the observations, dead letters and ignored counts of a webhook as JSON values."""
    # Byte for byte as on their topic.
    found: list[object] = [msgspec.Raw(encode(one)) for one in result.observations]
    for letter in result.dead_letters:
        shown = {"code": letter.code, "reason": letter.reason, "pointer": letter.pointer}
        found.append({"dead_letter": shown})
    if result.ignored:
        found.append({"ignored": result.ignored})
    return found

"""`bluetick parse`: what the normaliser makes of one body, without a broker."""

import sys
from collections.abc import Sequence

from cli.output.json_escaping import escaped
from cli.providers import providers
from cli.simulator.files import STDIN, read_body
from cli.simulator.requests import headers_of
from processors.normalising.normalise import normalise
from providers.contract import Normalised
from schemas.codec import encode
from schemas.coordinates import Coordinates
from schemas.webhook import KEPT_HEADERS, RawWebhook
from service.wall_clock import now_ms

_NOWHERE = Coordinates("parse", 0, 0)


def run(
    provider: str,
    file: str = STDIN,
    *,
    path: str = "",
    method: str = "POST",
    headers: Sequence[str] = (),
    received_at: int | None = None,
) -> int:
    """Print observations, dead letters and ignored counts of a body, one JSON object a line.

    An observation is printed as it would go on its topic, a dead letter as
    {"dead_letter": {code, reason, pointer}}, what was ignored as {"ignored": {event: count}}.
    `path` is what followed the source in the URL, `received_at` Unix milliseconds (default: now).
    Returns 0 if there are no dead letters, else 1.
    """
    providers(provider)
    given = headers_of(headers)
    webhook = RawWebhook(
        id="",
        source=provider,
        provider=provider,
        body=read_body(file),
        received_at=now_ms() if received_at is None else received_at,
        method=method.upper(),
        path=path,
        content_type=given.get("content-type", "application/json"),
        headers={name: value for name, value in given.items() if name in KEPT_HEADERS},
    )
    result = normalise(webhook, _NOWHERE)
    sys.stdout.write("".join(line + "\n" for line in lines(result)))
    return 1 if result.dead_letters else 0


def lines(result: Normalised) -> list[str]:
    """Everything a webhook amounts to, one line of JSON each."""
    told: list[object] = [*result.observations]
    for letter in result.dead_letters:
        shown = {"code": letter.code, "reason": letter.reason, "pointer": letter.pointer}
        told.append({"dead_letter": shown})
    if result.ignored:
        told.append({"ignored": result.ignored})
    return [escaped(encode(one).decode()) for one in told]

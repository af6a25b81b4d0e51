"""From a raw webhook to observations, dead letters and ignored counts. Pure and total.

Whatever the bytes are, `normalise` returns; the same webhook always gives the same result. Each
item is guarded alone: one bad item never takes its neighbours with it.
"""

import traceback

from processors import body
from processors.accounts import (
    UNCORRECTED,
    Corrections,
    ForeignAccountError,
    accounts_of,
    refuse_foreign,
)
from processors.inflate import inflated
from processors.providers import PROVIDERS
from processors.providers.base import (
    Coordinates,
    DeadLetter,
    Ignored,
    Item,
    Normalised,
    Part,
)
from processors.refusal import Code, Refused
from schemas.codec import encode
from schemas.records import Observation, RawOrigin
from schemas.topics import MAX_BODY, MAX_OBSERVATION
from schemas.webhook import RawWebhook

# Written out by us, an item grows less than fourfold (9e15 becomes 9000000000000000.0) plus our
# own fields, whose sizes are capped; an item below this never needs to be measured.
_SURELY_FITS = (MAX_OBSERVATION - 64 * 1024) // 8

_CALLS = 20


def normalise(
    webhook: RawWebhook, at: Coordinates, corrections: Corrections = UNCORRECTED
) -> Normalised:
    """Everything a webhook amounts to; `at` is where its raw record lies. Never raises."""
    result = Normalised()
    accounts = accounts_of(webhook, corrections)
    try:
        parts = _split(webhook)
    except Exception as error:  # noqa: BLE001 - whatever it is, the body is kept with the reason
        result.dead_letters.append(_dead_letter(error, webhook.body, ""))
        return result
    for index, part in enumerate(parts):
        raw = RawOrigin(at.topic, at.partition, at.offset, index)
        item = Item(part.json, raw, webhook, accounts.own)
        try:
            outcomes = part.read(item)
            refuse_foreign(accounts, (o.account for o in outcomes if not isinstance(o, Ignored)))
        except Exception as error:  # noqa: BLE001 - likewise, for this item only
            result.dead_letters.append(_dead_letter(error, _keepable(part, webhook), part.pointer))
            continue
        for outcome in outcomes:
            if isinstance(outcome, Ignored):
                result.ignored[outcome.event] = result.ignored.get(outcome.event, 0) + 1
            else:
                _keep(outcome, part, webhook, result)
    return result


def _split(webhook: RawWebhook) -> list[Part]:
    split = PROVIDERS.get(webhook.provider)
    if split is None:
        raise Refused("unknown_provider", "there is no such provider; see docs/adding-a-provider")
    encoding = webhook.headers.get("content-encoding")
    text = inflated(webhook.body, encoding) if encoding else webhook.body
    parts = split(webhook, body.checked(text))
    body.refuse_count(len(parts))
    return parts


def _keep(observation: Observation, part: Part, webhook: RawWebhook, result: Normalised) -> None:
    """Add an observation, or a dead letter if it would not fit its topic."""
    if len(part.json) > _SURELY_FITS and (size := len(encode(observation))) > MAX_OBSERVATION:
        refusal = Refused(
            "too_large", f"the observation would be {size} bytes; {MAX_OBSERVATION} is the limit"
        )
        result.dead_letters.append(_dead_letter(refusal, _keepable(part, webhook), part.pointer))
        return
    result.observations.append(observation)


def _keepable(part: Part, webhook: RawWebhook) -> bytes:
    """What goes into an item's dead letter: itself or, too large once inflated, the body."""
    return part.json if len(part.json) <= MAX_BODY else webhook.body


def _dead_letter(error: Exception, value: bytes, pointer: str) -> DeadLetter:
    kind = type(error)
    code, reason, trace = _told(error)
    return DeadLetter(
        code=code,
        reason=reason,
        value=value,
        pointer=pointer,
        exception=f"{kind.__module__}.{kind.__qualname__}",
        stacktrace=trace,
        account=error.account if isinstance(error, ForeignAccountError) else "",
    )


def _told(error: Exception) -> tuple[Code, str, str]:
    """Code, reason and, for a mistake of ours, where it was made."""
    if isinstance(error, Refused):
        return error.code, error.reason, ""
    reason = f"normalising it raised {type(error).__name__}; please report this"
    return "internal_error", reason, _where(error)


def _where(error: Exception) -> str:
    """The innermost calls, a line each; the error's own words may quote what is personal."""
    calls = [
        f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return "\n".join(calls[-_CALLS:])

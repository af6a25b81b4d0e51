"""From a raw webhook to observations, dead letters and ignored counts. Pure and total.

Whatever the bytes are, `normalise` returns; the same webhook always gives the same result. Each
item is guarded alone: one bad item never takes its neighbours with it.
"""

from msgspec.structs import replace

from processors.normalising.accounts import (
    UNCORRECTED,
    Corrections,
    ForeignAccountError,
    accounts_of,
    refuse_foreign,
)
from processors.normalising.decompression import inflated
from processors.normalising.field_bounds import fitted
from providers import NAMES, json_slices, registry
from providers.contract import DeadLetter, Ignored, Item, Normalised, Part, Split
from providers.fields import ignore
from providers.rejection import Code, Refused, calls
from providers.steps import Steps, finished
from schemas.bounds import BOUNDS
from schemas.coordinates import Coordinates
from schemas.records import Observation, RawOrigin
from schemas.topics import MAX_BODY
from schemas.webhook import RawWebhook

SPLITS: dict[str, Split] = {name: registry.split(name) for name in NAMES}

# A body up to this, not compressed, takes one step of some milliseconds.
_SMALL = 4 * 1024

# An item below this costs little to measure.
_LARGE = 64 * 1024

# What a provider sends to try the URL out, and how it is counted.
_TEST, _LONGEST_TEST = "test", 64


def normalise(
    webhook: RawWebhook,
    at: Coordinates,
    bounds: json_slices.Bounds = json_slices.USUAL,
    corrections: Corrections = UNCORRECTED,
    *,
    stories: bool = False,
) -> Normalised:
    """Everything a webhook amounts to; `at` is where its raw record lies. Never raises.

    `stories` says whether stories that contacts post are inbound messages.
    """
    return finished(normalised(webhook, at, bounds, corrections, stories=stories))


def begun(
    webhook: RawWebhook,
    at: Coordinates,
    bounds: json_slices.Bounds,
    corrections: Corrections,
    *,
    stories: bool = False,
) -> Normalised | Steps[Normalised]:
    """The same: at once if the body is small, else in steps."""
    steps = normalised(webhook, at, bounds, corrections, stories=stories)
    return finished(steps) if _is_small(webhook) else steps


def normalised(
    webhook: RawWebhook,
    at: Coordinates,
    bounds: json_slices.Bounds = json_slices.USUAL,
    corrections: Corrections = UNCORRECTED,
    *,
    stories: bool = False,
) -> Steps[Normalised]:
    """The same in steps, each of them short whatever the body is; see decision 18."""
    result = Normalised()
    accounts = accounts_of(webhook, corrections)
    try:
        split = _provider(webhook)
        if _is_small(webhook):
            text = json_slices.checked_at_once(webhook.body, bounds)
        else:
            text = yield from _text(webhook, bounds)
        parts = (len(text) <= _LONGEST_TEST and _test(text)) or split(webhook, text)
        json_slices.refuse_count(len(parts))
    except Exception as error:  # noqa: BLE001 - whatever it is, the body is kept with the reason
        result.dead_letters.append(dead_letter(error, webhook.body))
        return result
    size = 0
    equals: dict[str, int] = {}  # of the messages without an id, by key
    for index, part in enumerate(parts):
        size += len(part.json) + 1
        if size > _SMALL:
            yield
            size = len(part.json)
        raw = RawOrigin(at.topic, at.partition, at.offset, index)
        item = Item(part.json, raw, webhook, accounts.own, stories)
        try:
            json_slices.refuse_costly(part.json, bounds)
            outcomes = part.read(item)
            if accounts.permitted is not None:
                told = (one.account for one in outcomes if not isinstance(one, Ignored))
                refuse_foreign(accounts, told)
        except Exception as error:  # noqa: BLE001 - likewise, for this item only
            result.dead_letters.append(dead_letter(error, _keepable(part, webhook), part.pointer))
            continue
        if len(part.json) > _LARGE:
            yield  # each of its observations may be written out to be measured
        for outcome in outcomes:
            if isinstance(outcome, Ignored):
                result.ignored[outcome.event] = result.ignored.get(outcome.event, 0) + 1
            else:
                _keep(outcome, part, webhook, result, equals)
    _fold_surplus(result, webhook)
    return result


def _fold_surplus(result: Normalised, webhook: RawWebhook) -> None:
    """Keep the first dead letters of a body one by one, and all further ones as the whole body.

    Ten thousand bad items in 30 kB would be ten thousand records.
    """
    more = result.dead_letters[BOUNDS.letters :]
    if more:
        first = more[0]
        reason = (
            f"{len(more)} more items cannot be normalised, the first {first.pointer}: {first.code}"
        )
        surplus = DeadLetter(code="too_many_bad_items", reason=reason, value=webhook.body)
        result.dead_letters[BOUNDS.letters :] = [surplus]


def _is_small(webhook: RawWebhook) -> bool:
    return len(webhook.body) <= _SMALL and "content-encoding" not in webhook.headers


def _test(text: bytes) -> list[Part]:
    """The body `{}` as one item that is counted; nothing if it is another body."""
    return [Part("", text, ignore(_TEST))] if b"".join(text.split()) == b"{}" else []


def _numbered(observation: Observation, equals: dict[str, int]) -> Observation:
    """The observation under a key of its own, if its body holds others with the same key.

    An inbound message without an id is named after what it says: of the equal ones of a body the
    second and later ones have their number in the key.
    """
    key = observation.message_key
    number = equals[key] = equals.get(key, 0) + 1
    return observation if number == 1 else replace(observation, message_key=f"{key}-{number}")


def _provider(webhook: RawWebhook) -> Split:
    split = SPLITS.get(webhook.provider)
    if split is None:
        raise Refused("unknown_provider", "there is no such provider; see docs/adding-a-provider")
    return split


def _text(webhook: RawWebhook, bounds: json_slices.Bounds) -> Steps[bytes]:
    encoding = webhook.headers.get("content-encoding")
    text = (yield from inflated(webhook.body, encoding)) if encoding else webhook.body
    return (yield from json_slices.checked(text, bounds))


def _keep(
    observation: Observation,
    part: Part,
    webhook: RawWebhook,
    result: Normalised,
    equals: dict[str, int],
) -> None:
    """Add an observation, or a dead letter if it exceeds a bound that it cannot be made to fit."""
    if observation.message_id is None:
        observation = _numbered(observation, equals)
    try:
        kept = fitted(observation)
    except Refused as refusal:
        result.dead_letters.append(dead_letter(refusal, _keepable(part, webhook), part.pointer))
    else:
        result.observations.append(kept)


def _keepable(part: Part, webhook: RawWebhook) -> bytes:
    """What goes into an item's dead letter: itself or, too large once inflated, the body."""
    return part.json if len(part.json) <= MAX_BODY else webhook.body


def dead_letter(error: Exception, value: bytes, pointer: str = "") -> DeadLetter:
    """What is kept of a body, or of one item of it, that an error kept from being normalised."""
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
    return "internal_error", reason, calls(error)

"""From a raw webhook to observations, dead letters and ignored counts. Pure and total.

`normalise` returns for any bytes; the same webhook always gives the same result. Errors are caught
for each item: one bad item does not affect the other items of its body.
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
from processors.normalising.privacy import protected
from providers import NAMES, import_provider, json_slices
from providers.contract import DeadLetter, Ignored, Item, Normalised, Part, Split, Usual
from providers.fields import ignore
from providers.pausable_work import Steps, finished
from providers.rejection import Code, Refused, calls
from schemas.bounds import BOUNDS
from schemas.coordinates import Coordinates
from schemas.privacy import NO_PRIVACY, Privacy
from schemas.records import Observation, RawOrigin
from schemas.topics import MAX_BODY
from schemas.webhook import RawWebhook

SPLITS: dict[str, Split] = {name: import_provider.split(name) for name in NAMES}
USUAL: dict[str, Usual] = {
    name: read for name in NAMES if (read := import_provider.usual(name)) is not None
}

# An uncompressed body up to this size takes one step of a few milliseconds.
_SMALL = 4 * 1024

# An item below this costs little to measure.
_LARGE = 64 * 1024

# The event name for the body with which a provider tests the URL, and its longest size.
_TEST, _LONGEST_TEST = "test", 64


def normalise(
    webhook: RawWebhook,
    at: Coordinates,
    bounds: json_slices.Bounds = json_slices.USUAL,
    corrections: Corrections = UNCORRECTED,
    *,
    stories: bool = False,
    privacy: Privacy = NO_PRIVACY,
) -> Normalised:
    """Return the result of a webhook; `at` has the coordinates of its raw record. Never raises.

    `stories` says whether stories that contacts post are inbound messages; `privacy` is the policy
    for personal data.
    """
    steps = normalised(webhook, at, bounds, corrections, stories=stories, privacy=privacy)
    return finished(steps)


def begun(
    webhook: RawWebhook,
    at: Coordinates,
    bounds: json_slices.Bounds,
    corrections: Corrections,
    *,
    stories: bool = False,
    privacy: Privacy = NO_PRIVACY,
) -> Normalised | Steps[Normalised]:
    """Return the result at once if the body is small, otherwise steps to it."""
    small = _is_small(webhook)
    if small and (found := _usual(webhook, at, corrections)):
        observations = found if privacy.policy.keeps_all else [protected(i, privacy) for i in found]
        return Normalised(observations, items=len(observations))
    steps = normalised(webhook, at, bounds, corrections, stories=stories, privacy=privacy)
    return finished(steps) if small else steps


def _usual(
    webhook: RawWebhook, at: Coordinates, corrections: Corrections
) -> list[Observation] | None:
    """Return the observations of a body of the usual shape, all of permitted accounts."""
    read = USUAL.get(webhook.provider)
    if read is None:
        return None
    accounts = accounts_of(webhook, corrections)
    found = read(webhook, at, accounts.own)
    if found and accounts.permitted is not None:
        return found if all(accounts.permit(one.account) for one in found) else None
    return found


def normalised(
    webhook: RawWebhook,
    at: Coordinates,
    bounds: json_slices.Bounds = json_slices.USUAL,
    corrections: Corrections = UNCORRECTED,
    *,
    stories: bool = False,
    privacy: Privacy = NO_PRIVACY,
) -> Steps[Normalised]:
    """Normalise in steps, each of them short for any body; see decision 18."""
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
    except Exception as error:  # noqa: BLE001 - after any error the body is kept with the reason
        return whole(dead_letter(error, webhook.body))
    size = 0
    equals: dict[str, int] = {}  # the number of messages without an id, by key
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
                accounts_read = (one.account for one in outcomes if not isinstance(one, Ignored))
                refuse_foreign(accounts, accounts_read)
        except Exception as error:  # noqa: BLE001 - likewise, for this item only
            result.items += 1
            result.dead_letters.append(dead_letter(error, _keepable(part, webhook), part.pointer))
            continue
        result.items += len(outcomes)
        if len(part.json) > _LARGE:
            yield  # each of its observations may be encoded to measure it
        for outcome in outcomes:
            if isinstance(outcome, Ignored):
                result.ignored[outcome.event] = result.ignored.get(outcome.event, 0) + 1
            else:
                _keep(protected(outcome, privacy), part, webhook, result, equals)
    _fold_surplus(result, webhook)
    return result


def whole(letter: DeadLetter) -> Normalised:
    """Return the result of a body that is kept whole: one item."""
    return Normalised(dead_letters=[letter], items=1)


def _fold_surplus(result: Normalised, webhook: RawWebhook) -> None:
    """Keep the first dead letters of a body separately, and all further ones as the whole body.

    Otherwise 10 000 bad items in 30 kB would be 10 000 records.
    """
    more = result.dead_letters[BOUNDS.letters :]
    if more:
        first = more[0]
        reason = (
            f"{len(more)} more items cannot be normalised, the first {first.pointer}: {first.code}"
        )
        surplus = DeadLetter(code="too_many_bad_items", reason=reason, value=webhook.body)
        result.dead_letters[BOUNDS.letters :] = [surplus]
        result.items -= len(more) - 1


def _is_small(webhook: RawWebhook) -> bool:
    return len(webhook.body) <= _SMALL and "content-encoding" not in webhook.headers


def _test(text: bytes) -> list[Part]:
    """Return the body `{}` as one item that is counted; [] for any other body."""
    return [Part("", text, ignore(_TEST))] if b"".join(text.split()) == b"{}" else []


def _numbered(observation: Observation, equals: dict[str, int]) -> Observation:
    """Return the observation with a unique key, if its body holds others with the same key.

    The key of an inbound message without an id is made from its content. The second and later equal
    messages of a body have their number in the key.
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
    """Add an observation, or a dead letter if it cannot be made to fit its bounds."""
    if observation.message_id is None:
        observation = _numbered(observation, equals)
    try:
        kept = fitted(observation)
    except Refused as refusal:
        result.dead_letters.append(dead_letter(refusal, _keepable(part, webhook), part.pointer))
    else:
        result.observations.append(kept)


def _keepable(part: Part, webhook: RawWebhook) -> bytes:
    """Return the value of an item's dead letter: the item or, if it is too large, the body."""
    return part.json if len(part.json) <= MAX_BODY else webhook.body


def dead_letter(error: Exception, value: bytes, pointer: str = "") -> DeadLetter:
    """Return the dead letter of a body, or of one of its items, that an error made invalid."""
    kind = type(error)
    code, reason, trace = _described(error)
    return DeadLetter(
        code=code,
        reason=reason,
        value=value,
        pointer=pointer,
        exception=f"{kind.__module__}.{kind.__qualname__}",
        stacktrace=trace,
        account=error.account if isinstance(error, ForeignAccountError) else "",
    )


def _described(error: Exception) -> tuple[Code, str, str]:
    """Return the code, the reason and, for a defect in Bluetick, the calls that led to it."""
    if isinstance(error, Refused):
        return error.code, error.reason, ""
    reason = f"normalising it raised {type(error).__name__}; please report this"
    return "internal_error", reason, calls(error)

"""A Kafka record as one line for a person, or as one line of JSON for a program. Pure.

Lines for people show no message texts and of phone numbers only the last three digits.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from rich.text import Text

from processors.dead_letters import record as letters
from processors.tracking.lifecycle.statuses import ASIDE, FAILURES, REACHED, UNDERWAY
from schemas import codec
from schemas.quality import Counts
from schemas.records import (
    Advanced,
    Contradicted,
    Event,
    FellBack,
    Forgotten,
    FormerlyExpired,
    InboundObservation,
    Late,
    PublishedVerdict,
    Recovered,
    Replied,
    Resumed,
    Stalled,
    StatusObservation,
    StatusRecord,
    ViewerAdvanced,
    ViewerState,
    split_viewer_key,
)
from schemas.webhook import to_iso

GOOD = "green"
MOVING = "cyan"
BAD = "red"
ODD = "yellow"
DIM = "dim"

_COLOURS: dict[str, str] = {
    **dict.fromkeys(UNDERWAY, MOVING),
    **dict.fromkeys(REACHED, GOOD),
    **dict.fromkeys(FAILURES, BAD),
    **dict.fromkeys(ASIDE, ODD),
}
_VERDICTS: dict[PublishedVerdict, str] = {
    "advanced": GOOD,
    "recovered": GOOD,
    "late": DIM,
    "contradiction": BAD,
    "aside": ODD,
}

_EVENT_COLOURS: dict[type[Event], str] = {
    Contradicted: BAD,
    FellBack: ODD,
    Forgotten: DIM,
    FormerlyExpired: DIM,
    Late: DIM,
    Replied: MOVING,
    Resumed: MOVING,
    Stalled: BAD,
    ViewerAdvanced: GOOD,
}

# A number with this few digits is a short code, not personal data.
_SHORT_CODE = 4
_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000


class Record(NamedTuple):
    """One Kafka record; `timestamp` is Unix milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    value: bytes | None

    @classmethod
    def of(cls, consumed: Any) -> "Record":
        """What Kafka's client gave, which has more to it."""
        return cls(*(getattr(consumed, name) for name in cls._fields))


def as_line(kind: str, record: Record) -> Text:
    """One line on a record of a topic of a kind: `statuses`, `events`, …, `raw`."""
    line = Text(to_iso(record.timestamp), style=DIM)
    line.append("  ")
    if record.key is not None:
        line.append(shown_key(record.key.decode("utf-8", "replace")), style="default")
        line.append("  ")
    try:
        what = _KINDS[kind](record)
    except codec.UndecodableError as error:
        what = _line(("not readable: " + printable(str(error)), BAD))
    return line.append_text(what)


def shown_key(key: str) -> str:
    """A record's key for a person: the viewer in the key of a viewer's state is masked."""
    split = split_viewer_key(key)
    if split is None:
        return printable(key)
    message, viewer = split
    return printable(f"viewer/{masked(viewer)}/{message}")


def as_fields(record: Record) -> dict[str, object]:
    """A JSON object: the value as it is on the topic if it is JSON, else in `value_base64`.

    `headers` is an array of pairs, for a name may repeat. A record without a value has neither
    `value` nor `value_base64`. What is no UTF-8 text appears as `{"base64": …}`.
    """
    shown: dict[str, object] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": None if record.key is None else text_or_base64(record.key),
        "headers": [[name, text_or_base64(value)] for name, value in record.headers],
    }
    if record.value is not None:
        shown.update(_value(record.value))
    return shown


def masked(text: str) -> str:
    """Return a text that may hold a phone number, with all but its last three digits masked."""
    places = [place for place, char in enumerate(text) if char.isdigit()]
    if len(places) <= _SHORT_CODE:
        return printable(text)
    return printable(text[: places[0]] + "…" + text[places[-3] :])


def elapsed(milliseconds: int) -> str:
    """A duration in the two units that matter: `1.5 s`, `3 min 20 s`, `25 h 0 min`."""
    if milliseconds < _MINUTE_MS:
        return f"{milliseconds / 1000:.1f} s"
    if milliseconds < _HOUR_MS:
        minutes, rest = divmod(milliseconds, _MINUTE_MS)
        return f"{minutes} min {rest // 1000} s"
    hours, rest = divmod(milliseconds, _HOUR_MS)
    return f"{hours} h {rest // _MINUTE_MS} min"


Part = tuple[str, str] | str


def _line(*parts: Part | None) -> Text:
    """Parts, each text or (text, colour), with two spaces between."""
    line = Text()
    for part in parts:
        if part is None:
            continue
        if line:
            line.append("  ")
        text, style = (part, "default") if isinstance(part, str) else part
        line.append(text, style)
    return line


def _status_part(status: str | None, word: str | None = None) -> Part:
    shown = status or "-"
    other = f" ({printable(word)})" if word not in (None, status) else ""
    return shown + other, _COLOURS.get(shown, "default")


def _statuses(record: Record) -> Text:
    one = codec.decode_status(record.value)
    current = None if one.message_status == one.status else _message_is(one.message_status)
    return _line((one.verdict, _VERDICTS.get(one.verdict, DIM)), *_details(one), current)


def _message_is(status: str | None) -> str | None:
    """Return the status of the message; None if it has none, as one of which viewers are known."""
    return None if status is None else f"message is {status}"


def _observations(record: Record) -> Text:
    one = codec.decode_observation(record.value)
    if isinstance(one, InboundObservation):
        return _inbound(record)
    return _line(*_details(one))


def _details(one: StatusObservation | StatusRecord) -> list[Part | None]:
    reason = one.reason
    return [
        _status_part(one.status, one.provider_status),
        printable(one.gateway),
        f"to {masked(one.recipient)}" if one.recipient else None,
        f"viewer {masked(one.viewer)}" if one.viewer else None,
        f"[{printable(reason.code)}]" if reason and reason.code else None,
        (f"replay {one.replay}", DIM) if one.replay else None,
    ]


def _inbound(record: Record) -> Text:
    if not isinstance(codec.decode_observation(record.value), InboundObservation):
        raise codec.UndecodableError("it is not an inbound message")
    one = codec.decode_inbound(record.value)
    kind = str((one.content or {}).get("type", "message"))
    return _line(
        ("reply" if one.in_reply_to else "inbound", MOVING),
        printable(kind),
        printable(one.gateway),
        f"from {masked(one.sender)}" if one.sender else None,
        f"to {masked(one.recipient)}" if one.recipient else None,
        f"answers {printable(one.in_reply_to)}" if one.in_reply_to else None,
        (f"revision {one.revision}", ODD) if one.revision else None,
    )


def _events(record: Record) -> Text:
    event = codec.decode_event(record.value)
    name = str(event.__struct_config__.tag)
    parts = _happened(event)
    gateway = None if isinstance(event, FellBack) else event.cause.gateway
    took = getattr(event, "elapsed_ms", None)
    return _line(
        (name.replace("_", " "), _event_colour(event)),
        *parts,
        printable(gateway) if gateway else None,
        None if took is None else f"after {elapsed(took)}",
    )


def _event_colour(event: Event) -> str:
    if isinstance(event, Advanced | Recovered):
        return _COLOURS.get(event.to, GOOD)
    return _EVENT_COLOURS[type(event)]


def _happened(event: Event) -> list[Part | None]:
    match event:
        case Advanced() | Recovered():
            begin = f"{event.from_} → " if event.from_ else ""
            return [(begin + event.to, _COLOURS[event.to])]
        case Late():
            return [_status_part(event.cause.status), _message_is(event.current)]
        case Contradicted():
            return [_status_part(event.cause.status), f"after {event.evidence}"]
        case FellBack():
            earlier = ", ".join(printable(gateway) for gateway in event.earlier)
            return [f"{earlier} → {printable(event.gateway)}"]
        case ViewerAdvanced():
            return _viewed(event)
        case _:
            return _timed(event)


def _viewed(event: ViewerAdvanced) -> list[Part | None]:
    rung = event.rung, _COLOURS[event.rung]
    return [rung, f"viewer {masked(event.viewer)}", f"{event.reached} in all"]


def _timed(event: Replied | Stalled | Resumed | Forgotten) -> list[Part | None]:
    if isinstance(event, Replied):
        return []
    status = _status_part(event.status) if event.status else None
    if isinstance(event, Stalled):
        return [status, f"for {elapsed(event.waiting_ms)}"]
    tries = isinstance(event, Forgotten) and event.attempts > 1 and f"{event.attempts} attempts"
    return [status, tries or None]


def _messages(record: Record) -> Text:
    if record.value is None:
        return _line(("forgotten", DIM))
    state = codec.decode_by_key((record.key or b"").decode("utf-8", "replace"), record.value)
    if isinstance(state, ViewerState):
        statuses = (f"{printable(g)}: {one.status}" for g, one in state.attempts.items())
        return _line("viewer", *statuses)
    viewers = ", ".join(f"{rung} by {count}" for rung, count in state.audience.items())
    disputed = len(state.contradictions)
    return _line(
        _status_part(state.status),
        "inbound" if state.direction == "inbound" else None,
        f"to {masked(state.recipient)}" if state.recipient else None,
        *(
            f"{printable(gateway)}: {attempt.status}"
            for gateway, attempt in state.attempts.items()
            if len(state.attempts) > 1
        ),
        viewers or None,
        ("replied", MOVING) if state.replied_at else None,
        (f"contradictions: {disputed}", BAD) if disputed else None,
    )


def _quality(record: Record) -> Text:
    return (
        _line(("deleted", DIM))
        if record.value is None
        else _counts(codec.decode_quality(record.value))
    )


def _quality_changes(record: Record) -> Text:
    return _counts(codec.decode_quality_change(record.value))


def _quality_contributions(record: Record) -> Text:
    if record.value is None:
        return _line(("forgotten", DIM))
    held = codec.decode_quality_contribution(record.value)
    return _line(*(f"{printable(one.gateway)} {to_iso(one.start_at)}" for one in held.attempts))


def _counts(counts: Counts) -> Text:
    failed = counts.failed + counts.rejected + counts.expired
    return _line(
        f"messages: {counts.messages}",
        f"attempts: {counts.attempts}",
        (f"delivered: {counts.delivered}", GOOD) if counts.delivered else None,
        (f"failed: {failed}", BAD) if failed else None,
    )


def _dead_letters(record: Record) -> Text:
    headers = {
        name: printable(value.decode("utf-8", "replace"))
        for name, value in reversed(record.headers)
        if value is not None
    }
    origin = "{}[{}]@{}".format(
        *(headers.get(name, "?") for name in (letters.TOPIC, letters.PARTITION, letters.OFFSET))
    )
    resolved = record.value is None and letters.RESOLVED in headers
    return _line(
        (f"resolved by {headers[letters.RESOLVED]}", GOOD) if resolved else None,
        (headers.get(letters.CODE, "no code"), BAD),
        None if resolved else headers.get(letters.MESSAGE, "no reason"),
        headers.get(letters.POINTER) or "whole body",
        (origin, DIM),
    )


def _raw(record: Record) -> Text:
    headers = {
        name: None if value is None else value.decode("utf-8", "replace")
        for name, value in record.headers
    }
    # What follows the source may hold a secret.
    target = headers.get("ce_source", "") + ("…" if headers.get("http-path") else "")
    return _line(
        f"{len(record.value or b'')} bytes",
        printable(headers.get("http-method", "POST")),
        printable(target) or None,
    )


_KINDS: dict[str, Callable[[Record], Text]] = {
    "statuses": _statuses,
    "observations": _observations,
    "events": _events,
    "messages": _messages,
    "inbound": _inbound,
    "quality": _quality,
    "quality-changes": _quality_changes,
    "quality-contributions": _quality_contributions,
    "dead-letters": _dead_letters,
    "raw": _raw,
}


def printable(text: str) -> str:
    """Return a sender's words without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)


def text_or_base64(data: bytes | None) -> object:
    """The text, or what it is in base64 if it is none; None, as a header may have, stays."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(data or b"").decode()}


def _value(value: bytes) -> dict[str, object]:
    try:
        value.decode()
        return {"value": msgspec.Raw(msgspec.json.format(value, indent=-1))}
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return {"value_base64": b64encode(value).decode()}

"""One message as a picture, and in a few sentences: what happened to it, and why. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.charts.timeline import Kind, Mark, Row, Shape, Span, timeline
from console.pages.formats import duration, telling, tone
from console.read_model.results import Attempt, Fact, Message, MessageEvent, Why

_SHAPES: dict[str | None, Shape] = {
    "late": "late",
    "contradiction": "contradiction",
    "recovered": "recovered",
    "aside": "aside",
}
_NOTES = {
    "late": "late",
    "contradiction": "contradicts delivery",
    "recovered": "recovered",
    "aside": "aside",
}
_KINDS: dict[str, Kind] = {"good": "good", "bad": "bad", "aside": "aside"}
_VIEWERS_SHOWN = 5


class Story(NamedTuple):
    """What happened to a message: a headline, its class, and sentences in order of time."""

    headline: str
    tone: str
    sentences: Sequence[str]


def picture(message: Message, now: int) -> Markup:
    """Return the timeline of a message."""
    rows = [
        Row(one.gateway, _reached(one), _facts(message, one.gateway)) for one in message.attempts
    ]
    viewers = [fact for fact in message.facts if fact.viewer is not None]
    if viewers:
        rows.append(Row("viewers", _viewers_note(message), _viewers(viewers)))
    replies = [
        Mark(one.at, "message" if one.own else "reply", "", "reply", "plain", f"#{anchor(one.key)}")
        for one in message.replies
    ]
    if replies:
        rows.append(Row("inbound", f"{len(replies)} received", replies))
    label = f"Timeline of {len(message.facts)} facts through {len(message.attempts)} gateways"
    return timeline(label, rows, _stalls(message, now), duration)


def _reached(attempt: Attempt) -> str:
    """Return the status of an attempt, with the channel where the gateway does not say it."""
    same = attempt.channel == attempt.gateway
    return attempt.status if same else f"{attempt.channel}: {attempt.status}"


def story(message: Message, now: int) -> Story:
    """Return why a message has the status that it has."""
    line = message.line
    status = line.status or "received"
    sentences = [
        _attempted(message, one.gateway, again=place > 0)
        for place, one in enumerate(message.attempts)
    ]
    if line.stalled_since is not None:
        waited = duration(now - line.stalled_since)
        sentences.append(f"It has been stalled for {waited}: no further report has arrived.")
    elif status in ("queued", "sending", "sent"):
        sentences.append(f"No further report has arrived for {duration(now - line.updated_at)}.")
    sentences += [
        f"{one.gateway} reported {one.failure} beside {one.evidence}; the delivery counts."
        for one in message.contradictions
    ]
    if not message.receipts:
        sentences.append("This chat gives no receipts, so none is expected.")
    return Story(_headline(message, status), tone(line.status), sentences)


def anchor(text: str) -> str:
    """Return the id of an element for a key or coordinates."""
    return "at-" + "".join(letter if letter.isalnum() else "-" for letter in text)


def fact_anchor(fact: Fact) -> str:
    """Return the id of a fact's row."""
    raw = fact.raw
    place = f"{raw.topic} {raw.partition} {raw.offset} {raw.index}"
    return anchor(f"{place} {fact.gateway} {fact.status} {fact.viewer or ''}")


def _headline(message: Message, status: str) -> str:
    line = message.line
    kind = tone(line.status)
    if kind == "good":
        return f"{status.capitalize()} through {line.gateway}"
    if kind == "bad":
        return f"Not delivered: {status}{because(line.reason, status)}"
    if message.audience:
        return f"{status.capitalize()}; of its viewers: {_viewers_note(message)}"
    if line.stalled_since is not None:
        return f"Not delivered yet: {status}, and stalled"
    if message.replies and line.status is None:
        return "A message from a person"
    return f"Not delivered yet: {status}" if kind == "progress" else status.capitalize()


def because(reason: Why | None, *statuses: str) -> str:
    """Return a provider's reason as the end of a sentence; a text that is the status is none."""
    text, code = telling(reason, *statuses), reason.code if reason else None
    if text and code:
        return f", because “{text}” (code {code})"
    if text or code:
        return f", because “{text}”" if text else f", with code {code}"
    return ", without a reason"


def _attempted(message: Message, gateway: str, *, again: bool) -> str:
    attempt = next(one for one in message.attempts if one.gateway == gateway)
    facts = [one for one in message.facts if one.gateway == gateway and one.viewer is None]
    final = next((one for one in facts if one.status == attempt.status), None)
    why = ""
    if final and tone(attempt.status) == "bad":
        why = because(final.reason, final.status, final.provider_status)
    took = f" after {duration(final.at - facts[0].at)}" if final and final.at > facts[0].at else ""
    named = gateway if gateway == attempt.channel else f"{gateway} ({attempt.channel})"
    return f"{'Then through' if again else 'Through'} {named}: {attempt.status}{took}{why}."


def _facts(message: Message, gateway: str) -> list[Mark]:
    return [
        _mark(fact) for fact in message.facts if fact.gateway == gateway and fact.viewer is None
    ]


def _mark(fact: Fact) -> Mark:
    code = fact.reason.code if fact.reason and tone(fact.status) == "bad" else None
    note = _NOTES.get(fact.verdict or "", code or "")
    return Mark(
        fact.at,
        fact.status,
        note,
        _KINDS.get(tone(fact.status), "progress"),
        _SHAPES.get(fact.verdict, "plain"),
        f"#{fact_anchor(fact)}",
    )


def _viewers(facts: Sequence[Fact]) -> list[Mark]:
    """Return the first facts of viewers; the rest is in the list below the picture."""
    return [_mark(fact)._replace(note=fact.viewer or "") for fact in facts[:_VIEWERS_SHOWN]]


def _viewers_note(message: Message) -> str:
    return ", ".join(f"{count} {rung}" for rung, count in message.audience.items())


def _stalls(message: Message, now: int) -> list[Span]:
    """Return the times without progress: from the last fact before an alarm to the next one."""
    del now
    return list(_spans([one for one in message.events if one.event in ("stalled", "resumed")]))


def _spans(events: Iterable[MessageEvent]) -> Iterable[Span]:
    begin: int | None = None
    for event in events:
        if event.event == "stalled" and begin is None:
            begin = event.at
        elif event.event == "resumed" and begin is not None:
            yield Span(begin, event.at, f"stalled for {duration(event.at - begin)}")
            begin = None
    if begin is not None:
        yield Span(begin, None, "stalled, and no report since")

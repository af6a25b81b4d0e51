"""What each field of a record means, its unit, and whether it is personal data. Pure.

A name has one meaning in all records, so each is described once; `Struct.name` has precedence over
`name` where a record differs. These notes are the only list of personal fields.
"""

from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import fields

from schemas.vocabularies import Vocabulary

Personal = Literal["", "number", "text", "any"]
"""Personal data: a number or name that identifies a person; a person's words; or the caller's own
data, which may hold anything. "" for none."""


class Note(NamedTuple):
    """The note of a field; `words` names the vocabulary that its value is from.

    `example` is for a rare field, which no documented or simulated webhook leads to.
    """

    text: str
    words: Vocabulary = ""
    personal: Personal = ""
    unit: str = ""
    example: Any = None


NOTES: dict[str, Note] = {
    # The message.
    "message_key": Note("The message: `provider/account/message_id`, opaque after the account."),
    "provider": Note("The provider that reported it."),
    "account": Note("The customer's account or channel at the provider; `-` if it has none."),
    "message_id": Note(
        "The provider's id of the message, whole; absent if the provider gives none."
    ),
    "request_id": Note("The provider's id of the request that sent the message."),
    "recipient_index": Note(
        "The place of this recipient in that request, from 0, if the message id ends in it."
    ),
    "direction": Note("Who sent the message.", "Direction"),
    "channel": Note("How the message travels, in common words.", "Channel"),
    "gateway": Note(
        "The route of this attempt, in the provider's own word: a channel may have several."
    ),
    "recipient": Note(
        "Who the message is for: a phone number as digits, a group or a channel.", personal="number"
    ),
    "sender": Note("Who wrote the message: a phone number as digits.", personal="number"),
    "viewer": Note(
        "The member of a group, or reader of a story, whom this is about.", personal="number"
    ),
    "payload": Note(
        "The data that the caller gave the provider with the message, as the provider repeats it: "
        "any JSON value.",
        personal="any",
        example={"order": 4711},
    ),
    "content": Note("The content of the message.", personal="text"),
    "receipts": Note("False if receipts must not be expected: the chat has none."),
    # The report.
    "kind": Note("The kind of the record."),
    "event": Note("The kind of the event."),
    "status": Note("The status.", "Status"),
    "StatusObservation.status": Note("The reported status.", "Status"),
    "StatusRecord.status": Note("The reported status, which may be an old one.", "Status"),
    "provider_status": Note("The same status in the provider's own word."),
    "verdict": Note("The effect of the fact on the message.", "Verdict"),
    "message_status": Note(
        "The status of the whole message after the fact; absent as long as only viewers were "
        "reported.",
        "Status",
    ),
    "reason": Note("The provider's explanation of the status."),
    "Reason.code": Note("The provider's code."),
    "Reason.text": Note("The provider's text."),
    "billing": Note("The charges that the provider reports."),
    "Billing.sender": Note("The sender's name or number that the message was sent with."),
    "mcc": Note("Mobile country code of the recipient's network, three digits."),
    "mnc": Note("Mobile network code of the recipient's network."),
    "parts": Note("How many parts the message was sent in."),
    "prices": Note("The price in each currency: an exact decimal number as text."),
    "in_reply_to": Note("The message key of our message that this one answers."),
    "edited_at": Note("When the sender gave the message this content, if by an edit."),
    "revision": Note(
        "The number of the correction of the content; absent on the first record. The greatest "
        "revision of a message counts.",
        example=1,
    ),
    "MessageState.revision": Note("How many corrections of the content were published.", example=1),
    "occurred_at": Note("When it happened, by the provider; absent if unknown or not plausible."),
    "received_at": Note("When Bluetick received the webhook, by Kafka's clock."),
    "source": Note("The source that reported it: its webhook came in at `/webhooks/<source>`."),
    "replay": Note(
        "The id of the replay that published it; absent in live traffic.",
        example="20251128T120000-1f3a",
    ),
    "catch_up": Note("True if the provider reported it late on purpose: it had been offline."),
    "unread": Note(
        "The provider's fields that could not be read, or exceed a bound.", example=["sms.count"]
    ),
    "raw": Note("The origin of the record: the raw body, and the item in it."),
    "topic": Note("The raw topic."),
    "partition": Note("The partition of the raw body."),
    "offset": Note("The offset of the raw body."),
    "index": Note("The item in the body, from 0."),
    # The state of a message.
    "version": Note("The format of the state. Refuse a format that you do not know."),
    "first_seen_at": Note("When the first report of the message was received."),
    "updated_at": Note("When the newest report that changed the state was received."),
    "MessageState.status": Note(
        "The status of the message, that of its best attempt; absent if only viewers or inbound "
        "messages were reported.",
        "Status",
    ),
    "attempts": Note("The attempts to send the message, by gateway."),
    "ViewerState.attempts": Note("The viewer's facts, by gateway."),
    "Attempt.status": Note("The status that follows from the facts of the attempt.", "Status"),
    "Ladder.status": Note("The status that follows from the viewer's facts.", "Status"),
    "facts": Note("The facts, by status; an unknown one by `unknown:` and the provider's word."),
    "beyond": Note(
        "The highest of delivered, read and played that a gateway outside of `attempts` reported.",
        "Status",
        example="read",
    ),
    "viewed": Note("A summary of the viewers' receipts."),
    "first_at": Note("When the first of them was received."),
    "last": Note("The newest of them."),
    "audience": Note("How many viewers have reached at least that status, by status."),
    "content_rank": Note("For the tracker: which of two contents is the better one."),
    "MessageState.inbound": Note("The inbound messages under this key, by their own message key."),
    "replied_at": Note("When the first answer was written."),
    "contradictions": Note("Failures by gateways that also reported delivery."),
    "failure": Note("The reported failure.", "Status"),
    "Contradiction.evidence": Note("The status that the gateway had reported as well.", "Status"),
    "described_at": Note("For the tracker: the time of each descriptive field."),
    "stalled_since": Note("When the message became stalled.", unit="Unix ms"),
    # Events.
    "cause": Note("The fact behind the event."),
    "Cause.status": Note("The reported status; absent for a reply.", "Status"),
    "reply": Note("The message key of the reply, if the cause is one."),
    "to": Note("The message's status now.", "Status"),
    "from": Note("The message's status before; absent for its first one.", "Status"),
    "elapsed_ms": Note("The time since the message's first fact; absent if it is unknown."),
    "current": Note("The message's status, which stays.", "Status"),
    "evidence": Note("The status that the gateway had reported before.", "Status"),
    "earlier": Note("The gateways that were tried before, at most ten."),
    "rung": Note("The status that the viewer has reached.", "Status"),
    "reached": Note("How many viewers have reached at least that status."),
    "waiting_ms": Note("The time since the message's newest fact."),
    "Forgotten.attempts": Note("How many gateways were tried."),
    "Forgotten.status": Note("The last status; absent if none was reported.", "Status"),
    "to_sent_ms": Note("The time from the first fact to the first that says at least sent."),
    "to_delivered_ms": Note("The same to at least delivered."),
    "to_read_ms": Note("The same to at least read."),
    # Contents.
    "Content.type": Note("The kind of content.", "ContentType"),
    "Content.text": Note("The text that the person wrote or chose.", personal="text"),
    "caption": Note("The text below a medium.", personal="text"),
    "title": Note("The title of a link, a file or a poll.", personal="text"),
    "description": Note("The description of a link.", personal="text"),
    "Content.name": Note("The name of a place or a card.", personal="text"),
    "Contact.name": Note("The person's name.", personal="number", example="Ada"),
    "numbers": Note(
        "The person's phone numbers, as digits.", personal="number", example=["447700900123"]
    ),
    "address": Note("The address of a place.", personal="text"),
    "mime_type": Note("The type of a medium (RFC 6838)."),
    "filename": Note("The name of a file.", personal="text"),
    "link": Note("Where the medium can be fetched, or the link in the text.", personal="text"),
    "url": Note("The link of a place.", personal="text"),
    "options": Note("The answers of a poll.", personal="text"),
    "latitude": Note("Degrees north.", personal="text", unit="degrees"),
    "longitude": Note("Degrees east.", personal="text", unit="degrees"),
    "choice": Note("The id of the chosen button or list entry."),
    "contacts": Note(
        "The people of contact cards.",
        personal="number",
        example=[{"name": "Ada", "numbers": ["447700900123"]}],
    ),
    # Delivery quality.
    "period": Note("The length of the period.", "Period"),
    "start_at": Note("When the period begins."),
    "country": Note(
        "The country of the recipient's number (ISO 3166-1 alpha-2; `001` for numbers of no "
        "country); absent if unknown."
    ),
    "operator": Note(
        "The recipient's network by the billing, `<mcc>-<mnc>`; `other` past the bound; absent if "
        "the provider reports none.",
        example="231-01",
    ),
    "Counts.messages": Note("Messages whose first attempt is in the cell."),
    "messages_delivered": Note("Of these, those that any attempt delivered."),
    "messages_failed": Note("Of these, those that failed by all attempts."),
    "without_receipts": Note(
        "Of these, those without an outcome of which none is due: of groups, stories and chats "
        "without receipts."
    ),
    "stalled": Note("Of these, those that are stalled now.", example=1),
    "resumed": Note("How often one of these was stalled and then progressed.", example=1),
    "replies": Note("The replies to these."),
    "Counts.attempts": Note("Attempts that began in the period."),
    "sent": Note("Of these, those that reached sent or above."),
    "delivered": Note("Of these, those that reached delivered or above."),
    "read": Note("Of these, those that reached read or above."),
    "failed": Note("Of these, those that ended as failed or undelivered."),
    "rejected": Note("Of these, those that ended as rejected."),
    "expired": Note("Of these, those that ended as expired.", example=1),
    "reasons": Note(
        "The failures among these by the provider's code; `-` without one, `other` past the bound."
    ),
    "Counts.contradictions": Note("Of these, those with a failure after a delivery.", example=1),
    "recoveries": Note("Of these, those with a delivery after a failure.", example=1),
    "fall_backs": Note("Of these, those that an attempt by another gateway followed.", example=1),
    "Counts.parts": Note("The billed parts of these."),
    "cost": Note(
        "The price of these in each currency: an exact decimal number as text; `XXX` for what is "
        "no currency code, and past the bound."
    ),
    "to_delivered": Note(
        "The times from the first fact of an attempt to its first that says at least delivered."
    ),
    "to_read": Note("The same to at least read."),
    "count": Note("How many times it holds."),
    "zeros": Note("How many of them are 0 ms.", example=1),
    "bins": Note("Pairs of a bin's index and its count, sorted by index."),
    "p50_ms": Note("The median."),
    "p95_ms": Note("The time that 95 % do not exceed."),
    "p99_ms": Note("The time that 99 % do not exceed."),
    "QualityContribution.attempts": Note("What each attempt adds to the cell of its minute."),
    # Headers.
    "ce_specversion": Note("The version of CloudEvents: `1.0`."),
    "ce_id": Note(
        "The id of the fact or event, derived from it: the same in a replay and in a rebuilt "
        "namespace. Use it to recognise repeats."
    ),
    "RawHeaders.ce_id": Note("A random id of the request."),
    "ce_source": Note(
        "`/bluetick/track`, or `/bluetick/<name>/track` with `BLUETICK_INSTALLATION=<name>`."
    ),
    "RawHeaders.ce_source": Note("`/webhooks/<source>`."),
    "ce_subject": Note("The message key, as the record's key."),
    "ce_type": Note("`bluetick.message.` and the kind of the record."),
    "RawHeaders.ce_type": Note("`bluetick.webhook.received`."),
    "ce_time": Note("When the fact or event happened, RFC 3339 with milliseconds."),
    "RawHeaders.ce_time": Note("When the webhook was received, by Kafka's clock, RFC 3339."),
    "ce_dataschema": Note("The `$id` of the published schema of the value."),
    "content-type": Note("The type of the value."),
    "http-method": Note("The request's method."),
    "http-path": Note("The path after the source, with the query string; may be empty."),
    "content-encoding": Note("The request's header: how the body is compressed.", example="gzip"),
    "user-agent": Note("The request's header.", example="axios/1.7.2"),
    "x-request-id": Note("The request's header."),
    "ingest-time": Note(
        "The time by ingest's own clock, if `ce_time` is not that time.",
        example="2025-11-28T12:00:00.000Z",
    ),
    "source-accounts": Note(
        "The accounts that the source may report on, as a JSON array.", example='["shop-*"]'
    ),
    "traceparent": Note(
        "The W3C Trace Context of the webhook, if traces are on.",
        example="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    "tracestate": Note("The state that tracing systems keep in that context.", example="vendor=1"),
    "next-timer-at": Note("When the next timer of the state is due.", unit="Unix ms"),
    "taken-to": Note(
        "On the first record of a transaction: the offset that it commits.", example="512"
    ),
    "offset-metadata": Note(
        "On the same record: the metadata committed with the offset.",
        example="1:1764331200000:1764331200000:500",
    ),
    "dead-letter-code": Note("Why it cannot be processed.", "Code"),
    "dead-letter-pointer": Note(
        "A JSON pointer to the item, empty for the whole body; `#` and the item's number for dead "
        "letters of track."
    ),
    "dead-letter-timestamp": Note("The timestamp of the raw record.", unit="Unix ms"),
    "dead-letter-account": Note(
        "The item's account, for `foreign_account` only.", example="shop-1"
    ),
    "dead-letter-observation": Note(
        "For dead letters of track: `topic/partition/offset` of the observation.",
        example="bluetick.observations/2/15",
    ),
    "dead-letter-replay": Note(
        "For dead letters of track: the replay that published it.", example="20251128T120000-1f3a"
    ),
    "dead-letter-resolved": Note(
        "On a marker without a value: the id of the retry.", example="20251128T120000-1f3a"
    ),
    "__streams.errors.topic": Note("The raw topic."),
    "__streams.errors.partition": Note("The partition of the raw record."),
    "__streams.errors.offset": Note("The offset of the raw record."),
    "__streams.errors.message": Note("The reason in one line, without values."),
    "__streams.errors.exception": Note("The type of the exception; empty if there was none."),
    "__streams.errors.stacktrace": Note(
        "For `internal_error` only: the last 20 calls.",
        example="processors.tracking.next_state.track:87",
    ),
}

_UNITS = {"_at": "Unix ms", "_ms": "ms"}
# Texts and arrays that end like a time.
_NOT_TIMES = {"described_at"}


def key_of(struct: type[Struct], name: str) -> str:
    """Return the key in `NOTES` of a field: that of the record, of one it extends, or the name."""
    owners = (f"{one.__name__}.{name}" for one in struct.__mro__)
    return next((key for key in owners if key in NOTES), name)


def note_of(struct: type[Struct], name: str) -> Note:
    """Return the note of a field by its name in JSON; the unit of times follows from the name."""
    note = NOTES[key_of(struct, name)]
    unit = "" if name in _NOT_TIMES else _UNITS.get(name[-3:], "")
    return note if note.unit or not unit else note._replace(unit=unit)


def personal_fields(struct: type[Struct]) -> dict[str, Personal]:
    """Return the fields of a record itself that hold personal data, by their names in JSON."""
    notes = {one.encode_name: note_of(struct, one.encode_name) for one in fields(struct)}
    return {name: note.personal for name, note in notes.items() if note.personal}

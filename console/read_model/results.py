"""The results of the queries, and their parameters, as values. Pure.

The JSON API shows the same classes: a docstring or a note here is its documentation. Times are Unix
milliseconds UTC. A field that is unknown is None. `metadata` marks personal fields for
`console.masking`: `number`, `text` or `any`, as the data dictionary does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

TimeOf = Literal["seen", "event"]
Resolution = Literal["minute", "hour", "day"]
Dimension = Literal["provider", "account", "channel", "gateway", "country", "operator"]

NUMBER = {"personal": "number"}
TEXT = {"personal": "text"}
ANY = {"personal": "any"}


class BadCursorError(ValueError):
    """A cursor that no page of this query has returned."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of the results; `next` is the cursor of the following page, None on the last one."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """The wanted messages; None and () mean any.

    `text` is the whole of a message key, a message id, a request id, a number (of the recipient, or
    of the sender of a reply) or a value in the caller's payload. `since` and `until` bound
    `first_seen_at`, or `began_at` if `time` is `event`; `until` exclusively.
    """

    text: str | None = None
    statuses: Sequence[str] = ()
    provider: str | None = None
    gateway: str | None = None
    country: str | None = None
    stalled: bool = False
    contradicted: bool = False
    time: TimeOf = "seen"
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class RawItem:
    """The raw body behind a fact: its record on Kafka, and the index of the item in it."""

    topic: str
    partition: int
    offset: int
    index: int


@dataclass(frozen=True, slots=True)
class Why:
    """The provider's code and text that explain a status."""

    code: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Charges:
    """What the provider charges; prices are decimal numbers as text, by currency."""

    sender: str | None
    mcc: str | None
    mnc: str | None
    parts: int | None
    prices: dict[str, str]


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One message of a list.

    `gateway` and `channel` are those of the attempt that gives the message its status. `reason`
    explains that status. `country` is an ISO 3166 code. `began_at` is the event time of the first
    fact (of the attempt by the gateway that `time=event` searches by); None without an attempt.
    """

    key: str
    provider: str
    account: str
    message_id: str | None
    channel: str | None
    gateway: str | None
    direction: str
    recipient: str | None = field(metadata=NUMBER)
    country: str | None
    status: str | None
    reason: Why | None
    first_seen_at: int
    began_at: int | None
    updated_at: int
    stalled_since: int | None
    contradicted: bool
    attempts: int
    replies: int
    viewers: int


@dataclass(frozen=True, slots=True)
class Fact:
    """One status that was reported, of the message or of one viewer.

    `at` is when it happened by the provider, else when it was received. `verdict` is None if the
    record on `statuses` is past retention, or is not read yet.
    """

    at: int
    occurred_at: int | None
    received_at: int
    gateway: str
    viewer: str | None = field(metadata=NUMBER)
    status: str
    provider_status: str
    verdict: str | None
    reason: Why | None
    raw: RawItem
    replay: str | None
    catch_up: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """The attempt by one gateway; `began_at` is the time of its first fact."""

    gateway: str
    channel: str
    status: str
    began_at: int
    billing: Charges | None


@dataclass(frozen=True, slots=True)
class Viewer:
    """A member of a group, or a reader of a story, and the highest status reached."""

    viewer: str = field(metadata=NUMBER)
    status: str
    at: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An inbound message: a reply to the message, or the message itself if `own`.

    The text is None while the record on `inbound` is not read yet, or is past retention.
    """

    key: str
    own: bool
    at: int
    received_at: int
    sender: str | None = field(metadata=NUMBER)
    content: dict[str, Any] | None = field(metadata=TEXT)
    revision: int
    raw: RawItem


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """An event that is no fact: `stalled`, `resumed`, `fell_back`, `recovered`, `contradicted`.

    `detail` has the event's own fields, such as `waiting_ms`.
    """

    event: str
    at: int
    gateway: str | None
    detail: dict[str, Any]
    raw: RawItem


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A failure that a gateway reported beside evidence of delivery."""

    gateway: str
    failure: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message with its timeline; `facts` and `events` are in order of event time."""

    line: MessageLine
    request_id: str | None
    payload: Any = field(metadata=ANY)
    content: dict[str, Any] | None = field(metadata=TEXT)
    billing: Charges | None
    receipts: bool
    attempts: list[Attempt]
    facts: list[Fact]
    viewers: list[Viewer]
    audience: dict[str, int]
    replies: list[Reply]
    events: list[MessageEvent]
    contradictions: list[Contradiction]


@dataclass(frozen=True, slots=True)
class Choices:
    """The values that a filter of messages may take, each list sorted."""

    statuses: list[str]
    providers: list[str]
    gateways: list[str]
    countries: list[str]


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """The wanted dead letters; None means any. Times bound `written_at`, `until` exclusively."""

    provider: str | None = None
    code: str | None = None
    cause: str | None = None
    resolved: bool | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """The place of a record on Kafka."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: a body or an item that could not be processed.

    `at` is its record on `dead-letters`, `raw` the raw body, `pointer` the JSON pointer of the item
    in that body ("" for the whole body). `resolved` is the id of the retry that resolved it.
    """

    id: str
    provider: str
    code: str
    cause: str
    reason: str
    pointer: str
    at: RecordPlace
    raw: RecordPlace
    written_at: int
    resolved: str | None
    failed_in: list[str]


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """The dead letters of one cause: the reason with each number as `#`."""

    provider: str
    code: str
    cause: str
    open: int
    resolved: int
    first_at: int
    last_at: int
    example: Letter


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A distribution of durations in milliseconds; each within 1 % of the exact value."""

    count: int
    p50: int
    p95: int
    p99: int


@dataclass(frozen=True, slots=True)
class QualityFilter:
    """The wanted cells of delivery quality; None means any. `until` is exclusive."""

    since: int
    until: int
    provider: str | None = None
    account: str | None = None
    channel: str | None = None
    gateway: str | None = None
    country: str | None = None
    operator: str | None = None


@dataclass(frozen=True, slots=True)
class QualityRow:
    """The delivery quality of one combination of dimensions, in one interval or over all of them.

    `by` holds the value of each dimension asked for, `at` the start of the interval (None over all
    of them). An attempt is a message through one gateway, and counts in the interval in which it
    began; `messages` and the counts of messages are those whose first attempt is among them.
    `delivered_share` is of the messages for which receipts may come. `failures` counts by reason,
    `costs` sums by currency, as decimal text.
    """

    by: dict[str, str]
    at: int | None
    messages: int
    messages_delivered: int
    messages_failed: int
    without_receipts: int
    delivered_share: float | None
    attempts: int
    sent: int
    delivered: int
    read: int
    failed: int
    rejected: int
    expired: int
    stalled: int
    resumed: int
    contradictions: int
    recoveries: int
    fallbacks: int
    replies: int
    parts: int
    failures: dict[str, int]
    costs: dict[str, str]
    to_delivered: Percentiles | None
    to_read: Percentiles | None


@dataclass(frozen=True, slots=True)
class ProviderShare:
    """The messages of one provider first seen since a time, by their present status.

    Inbound ones have the status `none`, and are not in the share.
    """

    provider: str
    messages: int
    statuses: dict[str, int]
    delivered_share: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """The facts received in one interval, by status; `at` is its start."""

    at: int
    provider: str
    facts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the read model has read the topics.

    `behind` counts the offsets not read yet, `share` is between 0 and 1. `loading` is True until
    the first load has ended: queries are slow, and results incomplete.
    """

    loading: bool
    behind: int
    share: float
    looked_at: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first page shows, over the `hours` before `now`, from `since` on.

    `dead_letters_new` counts the open dead letters of the last 15 minutes.
    """

    now: int
    since: int
    hours: int
    messages: int
    stalled: int
    contradicted: int
    dead_letters_open: int
    dead_letters_new: int
    providers: list[ProviderShare]
    progress: Progress

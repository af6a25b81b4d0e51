"""The records on Bluetick's topics, as msgspec structs.

Times are integers, Unix milliseconds UTC, and end in `_at`. Phone numbers are digits without `+`.
An unknown field is absent, never "" or 0: `None` here means that the JSON lacks the field.
Records have no reference cycles, so the garbage collector can skip them (`gc=False`).
"""

from functools import lru_cache
from typing import Any, Literal, TypeVar
from urllib.parse import quote, unquote

from msgspec import Struct, field

from schemas.content_rank import ContentRank

Direction = Literal["outbound", "inbound", "unknown"]
Status = Literal[
    "queued",
    "sending",
    "sent",
    "delivered",
    "read",
    "played",
    "rejected",
    "undelivered",
    "failed",
    "expired",
    "deleted",
    "unknown",
]
PublishedVerdict = Literal["advanced", "late", "contradiction", "recovered", "aside"]
Verdict = Literal[PublishedVerdict, "duplicate", "refined"]
"""`duplicate` and `refined` are about known facts, which are counted and not published."""

STATE_VERSION = 3

S = TypeVar("S", bound=Struct)


class RawOrigin(Struct, frozen=True, order=True, gc=False):
    """The origin of a record: the raw body's coordinates and the item's index in it."""

    topic: str
    partition: int
    offset: int
    index: int


class Reason(Struct, frozen=True, omit_defaults=True, gc=False):
    """The provider's code and text that explain a status."""

    code: str | None = None
    text: str | None = None


class Billing(Struct, frozen=True, omit_defaults=True, gc=False):
    """The charges that the provider reports; prices are decimal strings by currency code."""

    sender: str | None = None
    mcc: str | None = None
    mnc: str | None = None
    parts: int | None = None
    prices: dict[str, str] = {}


class _Observed(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="kind", gc=False):
    """The fields of every observation.

    `source` is the source of its body (`/webhooks/<source>`). `replay` is the id of the replay that
    published it. `catch_up` means that the provider reported it late on purpose, because it had
    been offline. Both are absent in live traffic. `unread` names the fields that were left out
    because they cannot be read, and those left out or cut by a bound (docs/consuming.md).
    """

    message_key: str
    provider: str
    account: str
    channel: str
    gateway: str
    received_at: int
    raw: RawOrigin
    message_id: str | None = None
    recipient: str | None = None
    occurred_at: int | None = None
    payload: Any = None
    content: dict[str, Any] | None = None
    source: str | None = None
    replay: str | None = None
    catch_up: bool = False
    unread: list[str] = []


class StatusObservation(_Observed, frozen=True, omit_defaults=True, kw_only=True, tag="status"):
    """One report by a provider of a message's status; it may repeat.

    `receipts` is False if none must ever come: the chat has no receipts, or only those of people
    who happen to look at it.
    """

    status: Status
    provider_status: str
    direction: Direction = "unknown"
    request_id: str | None = None
    recipient_index: int | None = None
    viewer: str | None = None
    reason: Reason | None = None
    billing: Billing | None = None
    receipts: bool = True


class InboundObservation(_Observed, frozen=True, omit_defaults=True, kw_only=True, tag="inbound"):
    """One message or reply from a person; it may repeat.

    `message_key` is its own identity. A reply also names the outbound message in `in_reply_to`.
    `edited_at` is when the sender gave the message this content, if by an edit.
    """

    in_reply_to: str | None = None
    request_id: str | None = None
    sender: str | None = None
    edited_at: int | None = None


Observation = StatusObservation | InboundObservation


def _unknown() -> Direction:
    return "unknown"


class StatusRecord(StatusObservation, frozen=True, omit_defaults=True, kw_only=True, tag="status"):
    """A record of `statuses`: a new fact, its verdict, and the message's status after it.

    `direction`, `recipient` and `payload` are the message's if the observation lacks them.
    """

    verdict: PublishedVerdict
    direction: Direction = field(default_factory=_unknown)  # always written, even if unknown
    message_status: Status | None = None


class InboundRecord(
    InboundObservation, frozen=True, omit_defaults=True, kw_only=True, tag="inbound"
):
    """On `inbound`: each message once, and again with each correction of its content.

    `revision` counts the corrections, absent on the first record: the greatest of a message counts.
    """

    revision: int = 0


class Fact(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One known status of a message, as its earliest observation reports it."""

    status: Status
    provider_status: str
    received_at: int
    raw: RawOrigin
    occurred_at: int | None = None
    reason: Reason | None = None
    replay: str | None = None
    catch_up: bool = False


class Ladder(Struct, omit_defaults=True, kw_only=True, gc=False):
    """The facts of one attempt or one viewer, by fact key, and the status that follows."""

    status: Status
    facts: dict[str, Fact]


class Attempt(Ladder, omit_defaults=True, kw_only=True):
    """All facts of the message by one gateway, and their billing."""

    channel: str
    billing: Billing | None = None


class Cause(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """The fact behind an event: a status of a gateway (and viewer), or a reply by its own key."""

    received_at: int
    occurred_at: int | None = None
    status: Status | None = None
    provider_status: str | None = None
    gateway: str | None = None
    reason: Reason | None = None
    reply: str | None = None
    replay: str | None = None
    catch_up: bool = False


class Viewed(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """A summary of viewers' receipts: the time of the first one, and the newest one."""

    first_at: int
    last: Cause
    raw: RawOrigin


class Reply(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """An inbound message recorded under this key; its text is on the `inbound` topic."""

    received_at: int
    raw: RawOrigin
    occurred_at: int | None = None
    replay: str | None = None
    catch_up: bool = False


class Contradiction(Struct, frozen=True, order=True, gc=False):
    """A failure reported by a gateway that also reported delivery."""

    gateway: str
    failure: str
    evidence: str


class MessageState(Struct, omit_defaults=True, kw_only=True, gc=False):
    """A record of `messages`: the state of one message, a function of the set of its observations.

    `attempts` is by gateway. `audience` counts the viewers that reached at least delivered, read,
    played; `viewed` summarises their receipts. Each viewer has a `ViewerState` of its own and never
    changes the message's `status`. `inbound` holds the inbound messages recorded under this key (a
    reply, or the message itself) by their own message key. `described_at` holds the time of each
    descriptive field, as "field" or "billing/<gateway>": the newest value counts. Of `content` the
    richest counts, by `content_rank`; both are an inbound message's own, and so is `recipient`.
    `receipts` is False if any observation said so. `stalled_since` is when the message became
    stalled, and `revision` counts the published corrections of its content; only these two depend
    on the order of the observations.

    A state is bounded (docs/bounds.md). `beyond` is the highest of delivered, read and played that
    was reported by a gateway which is not in `attempts`, because there were too many.
    """

    message_key: str
    version: int
    provider: str
    account: str
    first_seen_at: int
    updated_at: int
    message_id: str | None = None
    request_id: str | None = None
    recipient_index: int | None = None
    direction: Direction = "unknown"
    recipient: str | None = None
    status: Status | None = None
    attempts: dict[str, Attempt] = {}
    beyond: Status | None = None
    viewed: Viewed | None = None
    audience: dict[str, int] = {}
    billing: Billing | None = None
    payload: Any = None
    content: dict[str, Any] | None = None
    content_rank: ContentRank | None = None
    receipts: bool = True
    inbound: dict[str, Reply] = {}
    replied_at: int | None = None
    contradictions: list[Contradiction] = []
    described_at: dict[str, int] = {}
    stalled_since: int | None = None
    revision: int = 0


class ViewerState(Struct, omit_defaults=True, kw_only=True, gc=False):
    """A record of `messages`, by `viewer_key`: the receipts of one viewer of a message or story.

    `attempts` is by gateway, and bounded; `beyond` is as in `MessageState`. It expires with the
    state of its message.
    """

    message_key: str
    viewer: str
    version: int
    attempts: dict[str, Ladder] = {}
    beyond: Status | None = None


class _Event(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="event", gc=False):
    """The fields of every event: its message, as it is known then, and its cause.

    `gateway` and `channel` are those of the cause, or of the attempt that gives the message its
    status. Events of earlier versions lack `provider` and `account`.
    """

    message_key: str
    cause: Cause
    raw: RawOrigin
    provider: str = ""
    account: str = ""
    message_id: str | None = None
    channel: str | None = None
    gateway: str | None = None
    direction: Direction = field(default_factory=_unknown)  # always written, even if unknown
    recipient: str | None = None
    payload: Any = None
    replay: str | None = None


class Advanced(
    _Event, frozen=True, omit_defaults=True, kw_only=True, tag="advanced", rename={"from_": "from"}
):
    """The message's status advanced; `elapsed_ms` counts from its first fact."""

    to: Status
    from_: Status | None = None
    elapsed_ms: int | None = None


class Recovered(
    _Event, frozen=True, omit_defaults=True, kw_only=True, tag="recovered", rename={"from_": "from"}
):
    """Delivery was reported by a gateway that had reported a failure."""

    to: Status
    from_: Status | None = None
    elapsed_ms: int | None = None


class Late(_Event, frozen=True, omit_defaults=True, kw_only=True, tag="late"):
    """A status was recorded that the message had already passed; `current` is unchanged."""

    current: Status | None = None


class Contradicted(_Event, frozen=True, omit_defaults=True, kw_only=True, tag="contradicted"):
    """A failure arrived after evidence of delivery by the same gateway; `current` is unchanged."""

    current: Status | None = None
    evidence: Status


class FellBack(_Event, frozen=True, omit_defaults=True, kw_only=True, tag="fell_back"):
    """A further gateway was tried for the same message."""

    gateway: str
    earlier: list[str]


class Replied(_Event, frozen=True, omit_defaults=True, kw_only=True, tag="replied"):
    """A reply to the message arrived; `elapsed_ms` counts from its first fact, if one is known."""

    elapsed_ms: int | None = None


class ViewerAdvanced(_Event, frozen=True, omit_defaults=True, kw_only=True, tag="viewed"):
    """A viewer reached a rung; `reached` is how many viewers have reached at least that one."""

    viewer: str
    rung: Status
    reached: int


class Stalled(_Event, frozen=True, omit_defaults=True, kw_only=True, tag="stalled"):
    """No fact arrived for an undelivered message for `waiting_ms`; `cause` is its newest fact."""

    status: Status
    waiting_ms: int


class Resumed(_Event, frozen=True, omit_defaults=True, kw_only=True, tag="resumed"):
    """A stalled message advanced to `status`: the alarm is withdrawn."""

    status: Status
    stalled_since: int


class Forgotten(_Event, frozen=True, omit_defaults=True, kw_only=True, tag="forgotten"):
    """The state was dropped after its time to live; this is the message's outcome.

    The times count from its first fact to the first that reports at least sent, delivered or read.
    """

    status: Status | None = None
    attempts: int = 0
    to_sent_ms: int | None = None
    to_delivered_ms: int | None = None
    to_read_ms: int | None = None
    parts: int | None = None
    prices: dict[str, str] = {}


Event = (
    Advanced
    | Recovered
    | Late
    | Contradicted
    | FellBack
    | Replied
    | ViewerAdvanced
    | Stalled
    | Resumed
    | Forgotten
)


class FormerlyExpired(Forgotten, frozen=True, omit_defaults=True, kw_only=True, tag="expired"):
    """`forgotten` under its former name; `events` may still hold some."""


def copy(struct: S) -> S:
    """Return a shallow copy, like `copy.copy`, which takes three times as long."""
    copied: S = struct.__copy__()  # type: ignore[attr-defined] # msgspec's types lack it
    return copied


def cause_of(gateway: str, fact: Fact | StatusObservation) -> Cause:
    """Return the cause of an event: a status that a gateway reported."""
    return Cause(
        received_at=fact.received_at,
        occurred_at=fact.occurred_at,
        status=fact.status,
        provider_status=fact.provider_status,
        gateway=gateway,
        reason=fact.reason,
        replay=fact.replay,
        catch_up=fact.catch_up,
    )


def message_key(provider: str, account: str | None, message_id: str) -> str:
    """Return `provider/account/message_id`; the account is `-` if there is none.

    Only the account is quoted: without `/` in provider and account the key is unambiguous.
    """
    return f"{provider}/{_quoted(account) if account else '-'}/{message_id}"


@lru_cache(maxsize=1024)  # few accounts, each in many keys
def _quoted(account: str) -> str:
    return quote(account, safe=" :@+")


_VIEWER = "viewer/"

RESERVED = (_VIEWER, "\x00")
"""Prefixes of keys, on `messages` and in the tracker's store, that are not message keys."""


def viewer_key(message: str, viewer: str) -> str:
    """Return the key of a viewer's state: `viewer/<viewer>/<message key>`, the viewer quoted.

    No provider has that name, so it is never the key of a message. Its record is on the partition
    of its message.
    """
    return f"{_VIEWER}{quote(viewer, safe=' :@+')}/{message}"


def split_viewer_key(key: str) -> tuple[str, str] | None:
    """Split a viewer's key into message key and viewer; return None for a message key."""
    if not key.startswith(_VIEWER):
        return None
    viewer, _, message = key.removeprefix(_VIEWER).partition("/")
    return message, unquote(viewer)


def message_of(key: str) -> str:
    """Return the message key in a key of `messages`, be it a message's or a viewer's."""
    split = split_viewer_key(key)
    return key if split is None else split[0]


def home_key(observation: Observation) -> str:
    """Return the message key whose state owns the observation, and whose task publishes it.

    A reply without a provider's id belongs to the state of the outbound message it answers.
    """
    if (
        isinstance(observation, InboundObservation)
        and observation.in_reply_to is not None
        and observation.message_id is None
    ):
        return observation.in_reply_to
    return observation.message_key


def state_key(observation: Observation) -> str:
    """Return the key of the state that holds the observation's fact: a viewer's or a message's."""
    home = home_key(observation)
    viewer = observation.viewer if isinstance(observation, StatusObservation) else None
    return viewer_key(home, viewer) if viewer else home


def record_keys(observation: Observation) -> tuple[str, ...]:
    """Return the Kafka keys of an observation: its home key, and the message it answers."""
    home = home_key(observation)
    answered = getattr(observation, "in_reply_to", None)
    return (home,) if answered in (None, home) else (home, answered)

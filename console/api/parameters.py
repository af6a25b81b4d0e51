"""The query parameters of each operation, as pydantic models: the OpenAPI document shows them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from console.read_model.queries.paging import MOST
from console.read_model.results import Dimension, Resolution, TimeOf

_LAST = 253_402_300_799_000  # the year 9999

Time = Annotated[int, Field(ge=0, le=_LAST, description="Unix milliseconds UTC")]
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Field(ge=1, le=MOST, description="results of a page")]
Cursor = Annotated[
    str,
    Field(
        pattern="^[A-Za-z0-9_-]{32}$",
        description="`next` of the page before; left out for the first one",
    ),
]


class Parameters(BaseModel):
    """What every operation accepts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reveal: Literal["1"] | None = Field(
        None,
        description="1: show numbers, texts and payloads; needs the role reveal, and is logged",
    )


class Between(Parameters):
    """A range of time."""

    since: Time | None = Field(None, description="from this time on, Unix milliseconds UTC")
    until: Time | None = Field(None, description="before this time, Unix milliseconds UTC")


class Paged(Between):
    """A range of time, page by page."""

    cursor: Cursor | None = None
    limit: Limit = 50


class OfMessages(Paged):
    """The wanted messages."""

    time: TimeOf = Field(
        "seen",
        description="the time that `since` and `until` bound, and by which messages are sorted. "
        "`seen`: when Bluetick first saw the message. `event`: when its first attempt began, by "
        "which `/quality` counts it; with a `gateway`, every message with an attempt by it, and "
        "when that began",
    )

    text: Word | None = Field(
        None,
        description="the whole of a message key, a message id, a request id, a number (of the "
        "recipient, or of the sender of a reply) or a value in the caller's payload",
    )
    status: list[Word] = Field(default_factory=list, description="any of these statuses")
    provider: Word | None = None
    gateway: Word | None = None
    country: Word | None = Field(None, description="the recipient's country, ISO 3166")
    stalled: bool = Field(default=False, description="only those that are stalled now")
    contradicted: bool = Field(default=False, description="only those with a contradiction")


class OfMessage(Parameters):
    """One message."""

    key: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")] = Field(
        description="the message key, `provider/account/message_id`"
    )


class OfLetters(Between):
    """The wanted dead letters; times are those at which they were written."""

    provider: Word | None = None
    code: Word | None = None
    cause: Word | None = Field(None, description="a reason with each number as `#`")
    resolved: bool | None = Field(None, description="only resolved ones, or only open ones")


class PagesOfLetters(OfLetters, Paged):
    """The wanted dead letters, page by page."""


class OfLetter(Parameters):
    """One dead letter."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="its `id` in a list")]


class OfQuality(Parameters):
    """The wanted cells of delivery quality, and how to add them up."""

    since: Time
    until: Time
    by: list[Dimension] = Field(["provider"], description="the dimensions of a row", max_length=6)
    resolution: Resolution = Field("hour", description="the intervals that are added up")
    series: bool = Field(default=False, description="a row for each interval")
    provider: Word | None = None
    account: Word | None = None
    channel: Word | None = None
    gateway: Word | None = None
    country: Word | None = None
    operator: Word | None = Field(None, description="mcc and mnc, such as 231-01")


class OfOverview(Parameters):
    """The overview."""

    hours: int = Field(24, ge=1, le=24 * 366, description="the messages of the last hours")


class OfThroughput(Parameters):
    """The facts received in each interval."""

    since: Time
    until: Time
    step: Resolution = Field("minute", description="the length of an interval")

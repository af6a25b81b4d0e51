"""The published kinds of records: the topic, headers and value of each. Pure.

Everything that is published about the records is made from this list: JSON Schemas, examples, the
AsyncAPI document, the data dictionary and the types for consumers.
"""

from typing import Any, NamedTuple, get_args

from msgspec import Struct

from schemas import quality, records
from schemas.headers import (
    DeadLetterHeaders,
    NoHeaders,
    ObservationHeaders,
    PublishedHeaders,
    QualityHeaders,
    RawHeaders,
    StateHeaders,
)
from schemas.processor_list import TopicKind


class Kind(NamedTuple):
    """One kind of record on a topic.

    `value` is None where the value is a sender's own. `key` describes the record's key, None if it
    has none.
    """

    name: str
    topic: TopicKind
    value: type[Struct] | None
    headers: type[Struct]
    key: str | None


_MESSAGE_KEY = "The message key, `provider/account/message_id`."


def _event(type_: type[Any]) -> Kind:
    name = str(type_.__struct_config__.tag)
    return Kind(name, "events", type_, PublishedHeaders, _MESSAGE_KEY)


KINDS: tuple[Kind, ...] = (
    Kind("raw", "raw", None, RawHeaders, None),
    Kind(
        "status-observation",
        "observations",
        records.StatusObservation,
        ObservationHeaders,
        _MESSAGE_KEY,
    ),
    Kind(
        "inbound-observation",
        "observations",
        records.InboundObservation,
        ObservationHeaders,
        "The message key; a reply is also written under the key of the message that it answers.",
    ),
    Kind("status", "statuses", records.StatusRecord, PublishedHeaders, _MESSAGE_KEY),
    *map(_event, get_args(records.Event)),
    Kind("inbound", "inbound", records.InboundRecord, PublishedHeaders, _MESSAGE_KEY),
    Kind("message", "messages", records.MessageState, StateHeaders, _MESSAGE_KEY),
    Kind(
        "viewer",
        "messages",
        records.ViewerState,
        StateHeaders,
        "`viewer/<viewer>/<message key>`, the viewer percent-encoded. It is personal data.",
    ),
    Kind("dead-letter", "dead-letters", None, DeadLetterHeaders, None),
    Kind(
        "quality-cell",
        "quality",
        quality.QualityCell,
        QualityHeaders,
        "`<period>/<start>/<provider>/<account>/<channel>/<gateway>/<country>/<operator>`, each "
        "part percent-encoded, `-` for one that is absent.",
    ),
    Kind(
        "quality-change",
        "quality-changes",
        quality.QualityChange,
        NoHeaders,
        "`<provider>/<account>/<channel>/<gateway>/<country>`, as in the key of a cell.",
    ),
    Kind(
        "quality-contribution",
        "quality-contributions",
        quality.QualityContribution,
        QualityHeaders,
        _MESSAGE_KEY,
    ),
)

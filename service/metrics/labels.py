"""The closed sets of label values. Pure.

Those of a part that this package may not import are compared with it by a test.
"""

from typing import get_args

from schemas.records import Verdict

OTHER = "other"
UNKNOWN_PROVIDER = "unknown"
UNKNOWN_SOURCE = "-"
"""The label of an unknown source: a name that an unknown sender chose never becomes a label."""


CHANNELS = ("sms", "viber", "whatsapp", "telegram", "rcs", OTHER)
"""The channels that are labels; a gateway that Bluetick does not know has a channel of its own."""

EVENTS = (
    *("advanced", "late", "contradicted", "recovered", "fell_back"),
    *("replied", "viewed", "stalled", "resumed", "forgotten"),
)

REPLIED = "replied"
REPAIRED = "repaired"
OUTCOMES = (
    *get_args(Verdict),
    *("inbound", "corrected", REPLIED, REPAIRED),
    *("too_many_attempts", "too_many_words", "too_many_replies"),
    *("too_costly", "too_large", "state_too_large", "state_unreadable", "internal_error"),
    "not_an_observation",
)

REJECTIONS = (
    *("unknown-source", "method", "address", "unproven", "too-slow", "too-large", "malformed"),
    *("disconnected", "overloaded", "not-durable", "shutting-down", "broken-off"),
)

RESPONSES = ("200", "400", "401", "404", "405", "408", "413", "414", "431", "500", "503")

RECOVERIES = (
    *("fenced", "connection", "timeout", "too_large", "clock", "kafka"),
    *("store", "system", "stopped"),
)

"""The loggers of Bluetick's modules: an event and its fields become a record with a sentence."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from service import log_events
from service.errors import reason, structured


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger, called as `log.warning("event_of_the_list", field=...)`.

    Its records go to the standard library's logger of that name, with the sentence as message, and
    `event` and `fields` as attributes. An exception as a field becomes its text; as `exc_info` it
    becomes the field `exception`.
    """
    wrapped = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, _as_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast("structlog.stdlib.BoundLogger", wrapped)


def _as_record(_: WrappedLogger, __: str, line: EventDict) -> Mapping[str, Any]:
    """Return the arguments for a method of the standard library's logger."""
    event, exception = line.pop("event"), line.pop("exc_info", None)
    fields = {name: _plain(value) for name, value in line.items()}
    sentence = log_events.sentence(event, fields)
    if exception is not None:  # not as `exc_info`: any handler would print its text
        fields["exception"] = structured(exception)
    return {"msg": sentence, "extra": {"event": event, "fields": fields}}


def _plain(value: object) -> object:
    if isinstance(value, BaseException):
        return reason(value)
    return str(value) if isinstance(value, Path) else value

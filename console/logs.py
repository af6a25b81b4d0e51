"""Logging of the services: one line an event, on standard error, UTC."""

import logging
import time

from aiokafka.errors import KafkaError

# What libraries say at INFO is about themselves. aiokafka prints request bodies at DEBUG: never.
_LIBRARIES = {"aiokafka": logging.WARNING, "uvicorn": logging.WARNING}


# What aiokafka calls an error and then waits out: the first group on a fresh cluster.
_WAITED_OUT = ("GroupCoordinatorNotAvailableError",)

# A failed batch fails several futures of aiokafka's; ours is looked at, the rest are its own.
_NOBODYS = "Future exception was never retrieved"


def log_to_stderr(level: str) -> None:
    """Set the logging tree up; `level` is a name such as INFO, for our own modules."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter(
        "{asctime}.{msecs:03.0f}Z {levelname:7} {name}: {message}", "%Y-%m-%dT%H:%M:%S", style="{"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(_worth_saying)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, lowest in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(lowest, logging.getLogger().level))


def _worth_saying(record: logging.LogRecord) -> bool:
    """Drop what is waited out; of what aiokafka raises by the way, say one line, not the stack."""
    if record.name.startswith(("aiokafka", "asyncio")) and record.exc_info:
        if record.getMessage().startswith(_NOBODYS) and isinstance(record.exc_info[1], KafkaError):
            return False
        told = record.getMessage().partition("\n")[0]
        record.msg, record.args = f"{told}: {record.exc_info[1]!r}", ()
        record.exc_info = None
    return not any(error in record.getMessage() for error in _WAITED_OUT)

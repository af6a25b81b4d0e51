"""The error that users see: a code, fields, and one sentence (service/problem_sentences.py)."""

import traceback
from typing import Any

from service.problem_sentences import sentence


class Problem(Exception):
    """An error that the operator or caller can correct; printed without a traceback.

    `code` is stable, and `fields` are JSON values; another interface may use other words. `logged`
    is whether a log line has it, so that it is not printed too.
    """

    logged = False

    def __init__(self, code: str, /, **fields: Any) -> None:
        super().__init__(code)
        self.code = code
        self.fields = fields

    def __str__(self) -> str:
        return sentence(self.code, self.fields)


def reason(error: BaseException) -> str:
    """Return the text of an exception, or its type if it has none, such as `TimeoutError()`."""
    return str(error).rstrip(": ") or type(error).__name__


def system_reason(error: BaseException) -> str:
    """Return the system's words for a failed call, without its number and path; else `reason`."""
    return getattr(error, "strerror", None) or reason(error)


def described(error: BaseException) -> str:
    """Return an exception as one line: its type, and the files and lines of its traceback.

    The text of the exception is left out: it may contain part of a body, or a secret.
    """
    return f"{type(error).__name__}, {' > '.join(_frames(error))}"


def structured(error: BaseException) -> dict[str, object]:
    """Return an exception as JSON values; its text only if it cannot contain part of a body."""
    text = {"text": reason(error)} if quotes_nothing(error) else {}
    return {"type": type(error).__name__, **text, "frames": _frames(error)}


def quotes_nothing(error: BaseException) -> bool:
    """Whether the text of an exception is Bluetick's, Kafka's client's or the system's."""
    of_client = type(error).__module__.partition(".")[0] == "aiokafka"
    return of_client or isinstance(error, (OSError, Problem))


def _frames(error: BaseException) -> list[str]:
    """Return file and line of each call of a traceback."""
    calls = traceback.extract_tb(error.__traceback__)
    return [f"{call.filename.rpartition('/')[2]}:{call.lineno}" for call in calls]


def missing(topic: str, where: str = "") -> str:
    """Return the problem of a missing topic; `where` is the cluster, if that is in doubt."""
    return sentence("topic_missing", {"topic": topic, "where": where})


def cut_differently(topic: str, found: int, expected: int) -> str:
    """Return the problem of a changed partition count: keys would move away from their state."""
    fields = {"topic": topic, "found": found, "expected": expected}
    return sentence("partition_mismatch", fields)

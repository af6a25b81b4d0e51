"""The error that users see: a code, fields, and one sentence (service/messages.py)."""

from typing import Any

from service.messages import sentence


class Problem(Exception):
    """An error that the operator or caller can correct; printed without a traceback.

    `code` is stable, and `fields` are JSON values; another interface may use other words.
    """

    def __init__(self, code: str, /, **fields: Any) -> None:
        super().__init__(code)
        self.code = code
        self.fields = fields

    def __str__(self) -> str:
        return sentence(self.code, self.fields)


def missing(topic: str, where: str = "") -> str:
    """Return the problem of a missing topic; `where` is the cluster, if that is in doubt."""
    return sentence("topic_missing", {"topic": topic, "where": where})


def cut_differently(topic: str, found: int, expected: int) -> str:
    """Return the problem of a changed partition count: keys would move away from their state."""
    fields = {"topic": topic, "found": found, "expected": expected}
    return sentence("partition_mismatch", fields)

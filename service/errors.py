"""The one error meant for a person: a code and fields, and one sentence (service/messages.py)."""

from typing import Any

from service.messages import sentence


class Problem(Exception):
    """What the operator or caller can correct; the command line prints it without a traceback.

    `code` is stable, and `fields` are values that JSON has; another face may word them otherwise.
    """

    def __init__(self, code: str, /, **fields: Any) -> None:
        super().__init__(code)
        self.code = code
        self.fields = fields

    def __str__(self) -> str:
        return sentence(self.code, self.fields)


def unreachable(kafka: str, error: BaseException | None = None) -> Problem:
    """Kafka does not answer; `kafka` is the setting."""
    return Problem("kafka_silent", kafka=kafka, error=type(error).__name__ if error else "")


def missing(topic: str, where: str = "") -> str:
    """Say that a topic is not there; `where` is the cluster, if that is in doubt."""
    return sentence("topic_missing", {"topic": topic, "where": where})


def cut_differently(topic: str, found: int, expected: int) -> str:
    """Say that a topic has another number of partitions: keys would move away from their state."""
    fields = {"topic": topic, "found": found, "expected": expected}
    return sentence("partition_mismatch", fields)

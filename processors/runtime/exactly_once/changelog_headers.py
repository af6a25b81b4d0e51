"""The tracker's own headers on the records of `messages`."""

from aiokafka import ConsumerRecord

# The time of the state's next timer, in Unix milliseconds. The state has it too, but decoding the
# state would double the cost of a restore.
NEXT_TIMER = "next-timer-at"

# On the first record of a transaction: the offset that it commits.
TAKEN_TO = "taken-to"

# On the same record: the metadata that it commits with the offset.
NOTE = "offset-metadata"


def header_number(record: ConsumerRecord[bytes, bytes], wanted: str) -> int | None:
    """Return the number in a header; None if the record does not have it."""
    for name, value in record.headers:
        if name == wanted and value.isdigit():
            return int(value)
    return None

"""The tracker's own headers on the records of `messages`."""

from aiokafka import ConsumerRecord

# When the state's next timer is due, in Unix milliseconds. The state has it as well, but to decode
# it costs as much as all the rest of restoring it.
NEXT_TIMER = "next-timer-at"

# On the first record of a transaction: the offset it commits, where it does.
TAKEN_TO = "taken-to"

# And what it commits with it, as the offset's metadata.
NOTE = "offset-metadata"


def header_number(record: ConsumerRecord[bytes, bytes], wanted: str) -> int | None:
    """The number in a header; None if the record does not have it."""
    for name, value in record.headers:
        if name == wanted and value.isdigit():
            return int(value)
    return None

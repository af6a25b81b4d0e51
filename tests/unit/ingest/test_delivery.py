"""Tests of the deadlines of durable delivery."""

from ingest.delivery import SPOOL_SECONDS
from service.settings import Settings

# SmsManager and Whapi wait 5 s for an answer; a second is left for the network.
_SENDERS_WAIT_SECONDS = 5.0 - 1.0


def test_an_answer_comes_before_the_sender_stops_waiting() -> None:
    """A body has the deadline of Kafka and then that of the spool."""
    deadline: float = Settings.model_fields["publish_deadline"].default
    assert deadline + SPOOL_SECONDS <= _SENDERS_WAIT_SECONDS

"""Raw records, normalised according to the settings."""

import json

import pytest

from processors.normalising.body_normaliser import Bodies
from processors.runtime.raw_record import RawRecord
from service.settings import Settings


@pytest.mark.parametrize(("stories", "count"), [(False, 0), (True, 1)])
def test_stories_are_inbound_messages_if_the_setting_says_so(*, stories: bool, count: int) -> None:
    """By default a contact's story is only counted."""
    story = {"id": "s", "from_me": False, "type": "story", "chat_id": "stories", "from": "1"}
    settings = Settings(stories=stories)
    body = json.dumps({"messages": [story], "channel_id": "C"}).encode()
    record = RawRecord(settings.topics.raw("whapi"), 0, 0, 1_763_900_000_000, (), body)
    result = Bodies(settings).normalised(record)
    assert len(result.observations) == count
    assert result.ignored == ({} if stories else {"messages.story": 1})


@pytest.mark.parametrize(
    ("traces", "given", "carried"),
    [
        ("off", None, []),
        ("otlp", None, [("traceparent", b"raw"), ("tracestate", b"a=1")]),
        ("otlp", [("traceparent", b"span")], [("traceparent", b"span")]),
        ("otlp", [], []),
    ],
)
def test_observations_carry_the_context(
    traces: str,
    given: list[tuple[str, bytes]] | None,
    carried: list[tuple[str, bytes]],
) -> None:
    """Normalise gives that of its span; a replay keeps the raw record's, if traces are on."""
    settings = Settings(traces=traces)
    item = {"message_id": "m", "gateway": "sms", "timestamp": 1, "result": "sent"}
    headers = [("traceparent", b"raw"), ("ce_id", b"1"), ("tracestate", b"a=1")]
    topic = settings.topics.raw("smsmanager")
    record = RawRecord(topic, 0, 0, 1_763_900_000_000, headers, json.dumps([item]).encode())
    bodies = Bodies(settings)
    observations = bodies.normalised(record).observations
    [made] = bodies.observed(record, observations, 1, given)
    assert list(made.headers) == carried

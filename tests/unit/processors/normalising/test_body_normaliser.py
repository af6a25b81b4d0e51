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

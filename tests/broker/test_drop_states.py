"""Tombstones from outside of the tracker, on a real Kafka: whole, and fenced by a tracker."""

from typing import Any

import pytest

from processors.tracking import drop_states as dropping
from processors.tracking.commit_batch import publish
from processors.tracking.drop_states import drop_states
from schemas.codec import encode
from schemas.topics import partition_of
from service.errors import Problem
from service.kafka import clients
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import read
from tests.unit.messages import Folded, seen


async def test_tombstones_are_written_and_a_tracker_stops_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tracker that starts meanwhile wins, and no tombstone is visible; then all of them are.

    There are more than one transaction takes.
    """
    keys = [f"smsmanager/-/m-{number}" for number in range(9)]
    states = [
        encode(Folded(seen("sent", 1, message_key=key, message_id=key)).states[key]) for key in keys
    ]
    topic = settings.topics.messages
    places: dict[int, list[str]] = {}
    for key in keys:
        places.setdefault(partition_of(key, settings.partitions), []).append(key)
    await write(
        settings,
        [
            Record(topic, partition_of(key, settings.partitions), key.encode(), state)
            for key, state in zip(keys, states, strict=True)
        ],
    )
    monkeypatch.setattr(dropping, "_MOST", 2)

    async def fenced(given: Settings, session: Any, *rest: Any, **more: Any) -> Any:
        names = given.topics
        tracker = clients.producer(given, names.transactional_id(session.partition.partition))
        await tracker.start()
        await clients.abandon(tracker)
        return await publish(given, session, *rest, **more)

    with monkeypatch.context() as during:
        during.setattr(dropping, "publish", fenced)
        with pytest.raises(Problem, match="a tracker has started and taken over") as refused:
            await drop_states(settings, places)
    assert refused.value.fields["topic"] == topic
    assert all(one.value is not None for one in await read(settings.kafka, topic))

    await drop_states(settings, places)
    written = await read(settings.kafka, topic)
    assert sorted(one.key for one in written if one.value is None) == keys

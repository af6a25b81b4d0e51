"""When garbage is collected, and that cycles are."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from service import garbage_collection
from service.garbage_collection import collect_rarely, due

HOUR = 3600.0


@pytest.mark.parametrize(
    ("young", "old", "seconds", "generation"),
    [
        (0, 0, 59.0, None),
        (0, 0, 60.0, 2),
        (20_000, 20_000, HOUR, 2),
        # A backlog is not visited, however long it lasts.
        (20_000, 200_000, HOUR, None),
        (120_000, 0, HOUR, None),
        # So many may be garbage, but what an earlier collection left is none.
        (150_001, 0, 0.0, 0),
        (150_001, 900_000, 0.0, 0),
    ],
)
def test_when_garbage_is_collected(
    young: int, old: int, seconds: float, generation: int | None
) -> None:
    assert due(young, old, seconds) == generation


class Node:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.same = self


@pytest.fixture
def automatic() -> Iterator[None]:
    """Python's own collection again after the test."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("wanted", [0, 2])
@pytest.mark.usefixtures("automatic")
async def test_cycles_are_collected_by_the_task(
    wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is collected automatically, and what was there before is never collected."""
    before = Node()
    kept = weakref.ref(before)
    monkeypatch.setattr(garbage_collection, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(garbage_collection, "due", lambda *_: None)
    collecting = collect_rarely()
    nodes, gone = [Node() for _ in range(2_000)], asyncio.Event()
    weakref.finalize(nodes[0], gone.set)
    del nodes, before
    await asyncio.sleep(0)
    assert not gone.is_set()
    monkeypatch.setattr(garbage_collection, "due", lambda *_: wanted)
    await gone.wait()
    assert kept() is not None
    collecting.cancel()

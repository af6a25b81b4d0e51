"""When garbage is collected, and that cycles are."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from service import garbage_collection
from service.garbage_collection import collect_rarely


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


@pytest.mark.parametrize(
    ("many", "few", "collected"),
    [
        (100, 0, True),  # much was made and not freed
        (10**9, 10**9, True),  # little is alive
        (10**9, 0, False),  # a backlog, which is not visited
    ],
)
@pytest.mark.usefixtures("automatic")
async def test_when_cycles_are_collected(
    many: int, few: int, *, collected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the task alone; what was there before is never collected."""
    monkeypatch.setattr(garbage_collection, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(garbage_collection, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(garbage_collection, "_MANY", 10**9)
    monkeypatch.setattr(garbage_collection, "_FEW", 0)
    before = Node()
    kept = weakref.ref(before)
    collecting = collect_rarely()
    nodes, gone = [Node() for _ in range(2_000)], asyncio.Event()
    weakref.finalize(nodes[0], gone.set)
    del nodes, before

    for _ in range(3):
        await asyncio.sleep(0)
    assert not gone.is_set()
    monkeypatch.setattr(garbage_collection, "_MANY", many)
    monkeypatch.setattr(garbage_collection, "_FEW", few)
    for _ in range(3):
        await asyncio.sleep(0)

    assert gone.is_set() == collected
    assert kept() is not None
    collecting.cancel()

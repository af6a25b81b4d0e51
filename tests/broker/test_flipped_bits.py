"""A flipped bit in the spool of a dead process: published bodies are correct, or it is logged."""

import os
import random
import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest import app, delivery
from ingest.delivery import Durable
from ingest.spool import database, retry_schedule, slots
from ingest.spool.database import FILE, SpoolFile
from ingest.spool.slots import JOURNAL
from schemas.webhook import RawWebhook
from service.settings import Settings
from tests.broker.running_ingest import Ingest, running, settings, stored, until

_PAGE = 4096
_JOURNAL_HEAD = 28
_JOURNAL_PAGES = 512  # the offset of the first one
_TYPES = {0x02: "index page", 0x0A: "index page", 0x05: "inner page", 0x0D: "body page"}

Pair = tuple[bytes, bytes]
"""A webhook's id and its body."""


@dataclass(frozen=True)
class _Left:
    """A free slot: its acknowledged webhooks, and those of an unfinished commit."""

    directory: Path
    kept: set[Pair]
    unfinished: set[Pair]


def _pages(content: bytes, kind: str) -> list[int]:
    """Return all offsets in the pages of a kind, except the first page."""
    starts = range(_PAGE, len(content), _PAGE)
    named = [start for start in starts if _TYPES.get(content[start], "overflow page") == kind]
    return [at for start in named for at in range(start, start + _PAGE)]


# The regions in which bits are flipped: file or journal, and offsets.
_REGIONS: dict[str, tuple[str, Callable[[bytes], Iterable[int]]]] = {
    "header": ("", lambda _: range(100)),
    "file format": ("", lambda _: [18]),
    "schema": ("", lambda _: range(100, _PAGE)),
    "inner page": ("", lambda content: _pages(content, "inner page")),
    "index page": ("", lambda content: _pages(content, "index page")),
    "body page": ("", lambda content: _pages(content, "body page")),
    "overflow page": ("", lambda content: _pages(content, "overflow page")),
    "journal's header": (JOURNAL, lambda _: range(_JOURNAL_HEAD)),
    "journal's pages": (JOURNAL, lambda content: range(_JOURNAL_PAGES, len(content))),
}
_EACH = 3


def _webhooks(number: int) -> list[RawWebhook]:
    """Return webhooks for an index of two levels; every hundredth body is larger than a page."""
    return [
        RawWebhook(
            id=secrets.token_hex(16),
            source="whapi",
            provider="whapi",
            body=os.urandom(10_000 if each % 100 == 0 else 20),
            received_at=1_700_000_000_000 + each,
            path="/left",
        )
        for each in range(number)
    ]


def _pairs(webhooks: list[RawWebhook]) -> set[Pair]:
    return {(webhook.id.encode(), webhook.body) for webhook in webhooks}


def _left(spool: Path, stack: ExitStack, *, hot: bool) -> _Left:
    """Make a slot with bodies; if `hot`, in the state after a crash in the middle of a commit."""
    slot = slots.acquire(spool)
    webhooks, more = _webhooks(320), _webhooks(100) if hot else []
    with closing(SpoolFile(slot.directory)) as file:
        file.add(webhooks)
        if hot:
            file._db.execute("PRAGMA cache_size = 2")
            file._db.execute("BEGIN IMMEDIATE")
            file._db.executemany(
                "INSERT INTO webhooks (provider, received_at, bytes, head, body, sha256)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                map(database._to_row, more),
            )
            crashed = {name: Path(f"{file.path}{name}").read_bytes() for name in ("", JOURNAL)}
            file._db.execute("ROLLBACK")
    if hot:
        assert crashed[""] != file.path.read_bytes()
        for name, content in crashed.items():
            Path(f"{file.path}{name}").write_bytes(content)
    stack.callback(slot.release)
    return _Left(slot.directory, _pairs(webhooks), _pairs(more))


def _flip(left: _Left, kind: str, chance: random.Random) -> str:
    name, offsets = _REGIONS[kind]
    path = Path(f"{left.directory / FILE}{name}")
    content = bytearray(path.read_bytes())
    at = chance.choice([at for at in offsets(bytes(content)) if content[at]])
    bit = chance.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"{kind}: byte {at}, bit {bit}"


async def test_a_flipped_bit_causes_no_unreported_loss(
    kafka: str,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No wrong body is published, missing ones are logged, and intact slots lose nothing."""
    monkeypatch.setattr(delivery, "ADOPT_SECONDS", 0.1)
    monkeypatch.setattr(delivery, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(retry_schedule, "SKIP_SECONDS", 3600)
    chance = random.Random(1)
    spool = tmp_path / "spool"
    good: list[_Left] = []
    flipped: dict[str, _Left] = {}
    with ExitStack() as stack:
        stack.callback(slots.acquire(spool).release)  # ingest uses this one itself
        for kind in _REGIONS:
            hot = kind.startswith("journal")
            good.append(_left(spool, stack, hot=hot))
            for _ in range(_EACH):
                left = _left(spool, stack, hot=hot)
                flipped[_flip(left, kind, chance)] = left
    deliveries: list[Durable] = []

    def note(given: Settings) -> Durable:
        deliveries.append(Durable(given))
        return deliveries[-1]

    monkeypatch.setattr(app, "Durable", note)
    given = settings(kafka, namespace, spool=spool)
    async with running(given) as ingest:
        await until(lambda: _over(spool, lambda: deliveries[0].given_up if deliveries else -1))
        published = await _published(ingest)
    for left in good:
        assert left.kept <= published
    for where, left in flipped.items():
        missing = len(left.kept - published)
        assert not missing or _is_logged(left, caplog), (
            f"{where}: {missing} bodies lost without a log line"
        )
    sent = set[Pair]().union(*(one.kept | one.unfinished for one in (*good, *flipped.values())))
    assert published <= sent, "only sent bodies are published"


async def _over(spool: Path, given_up: Callable[[], int]) -> bool:
    """Whether all slots are empty except those given up."""
    return len(slots.holding(spool)) == given_up()


async def _published(ingest: Ingest) -> set[Pair]:
    return {(record.headers["ce_id"], record.value) for record in await stored(ingest, "left")}


def _is_logged(left: _Left, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether an ERROR names exactly this slot."""
    named = re.compile(rf"{re.escape(str(left.directory))}\b")
    return any(
        record.levelname == "ERROR" and named.search(record.getMessage())
        for record in caplog.records
    )

"""Spool, disks and versions: facts and the codes of their findings."""

from typing import Any

import pytest
from msgspec.structs import replace

from cli.doctor.facts import Broker, Disk, Slot, Spool, Versions
from cli.doctor.machine_checks import check_disk, check_spool, check_versions, kafka_of, size
from tests.unit.cli.doctor.test_cluster_checks import BROKER, codes

SPOOL = Spool(directory="spool", max_bytes=1000, max_age=100.0)
SLOT = Slot(name="0", in_use=True, bodies=1, bytes=10, age=1.0)
DISK = Disk(setting="BLUETICK_DATA", directory="data", total=1000, free=500, writable=True)
VERSIONS = Versions(
    bluetick="1",
    python="3.11",
    aiokafka="0.14.0",
    tested_kafka="4.3.1",
    state_format=3,
    formats={0: 3, 1: 1},
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("ok", "spool_fine")]),
        ({"error": "Permission denied"}, [("problem", "spool_slot_unreadable")]),
        ({"damaged": ("spool.db.damaged-1",)}, [("warning", "spool_slot_damaged")]),
        ({"in_use": False}, [("warning", "spool_slot_left")]),
        ({"in_use": False, "bodies": 0}, [("ok", "spool_fine")]),
        ({"bytes": 499}, [("ok", "spool_fine")]),
        ({"bytes": 500}, [("warning", "spool_filling")]),
        ({"bytes": 900}, [("problem", "spool_filling")]),
        ({"age": 90.0}, [("problem", "spool_filling")]),
    ],
)
def test_a_slot(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Each deviation is found beside another slot that is fine."""
    slots = (replace(SLOT, name="1"), replace(SLOT, **changes))
    assert codes(check_spool(replace(SPOOL, slots=slots))) == expected


def test_no_spool() -> None:
    """It is no problem: a machine may run no ingest."""
    assert codes(check_spool(replace(SPOOL, directory=None))) == [("info", "spool_unset")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("ok", "disk_fine")]),
        ({"writable": None}, [("ok", "disk_fine")]),
        ({"writable": False}, [("problem", "directory_not_writable")]),
        ({"free": 99}, [("warning", "disk_full")]),
        ({"free": 49}, [("problem", "disk_full")]),
        ({"needed": 501}, [("warning", "disk_below_bound")]),
        ({"needed": 500}, [("ok", "disk_fine")]),
    ],
)
def test_a_disk(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Space is judged by its share, and by what the spool may still need."""
    assert codes(check_disk(replace(DISK, **changes))) == expected


@pytest.mark.parametrize(
    ("broker", "formats", "expected"),
    [
        (None, {}, []),
        (replace(BROKER, features={}), {}, []),
        (replace(BROKER, features={"metadata.version": 30}), {0: 3}, []),
        (
            replace(BROKER, features={"metadata.version": 25}),
            {},
            [("info", "kafka_older_than_tested")],
        ),
        (None, {0: 3, 4: 4}, [("problem", "state_format_newer")]),
    ],
)
def test_versions(
    broker: Broker | None, formats: dict[int, int], expected: list[tuple[str, str]]
) -> None:
    """An older Kafka is said; states of a newer format are a problem."""
    found = check_versions(replace(VERSIONS, formats=formats), broker)
    assert codes(found) == [("ok", "versions"), *expected]


def test_words_for_numbers() -> None:
    """Levels of metadata.version are releases; bytes have units."""
    assert [kafka_of(level) for level in (1, 25, 26, 30)] == [
        "1 (before 3.3)",
        "25 (4.0)",
        "26 (4.0)",
        "30 (4.3)",
    ]
    assert [size(one) for one in (5, 2**20, 3 * 2**30)] == ["5 bytes", "1.0 MiB", "3.0 GiB"]

"""Where the loader continues: the offsets in the database, beside what was read up to them."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from console.read_model.tables import POSITIONS
from schemas.coordinates import Partition


class Log(NamedTuple):
    """The first offset that a partition holds, and its end."""

    begin: int
    end: int


class Start(NamedTuple):
    """Where a partition continues; `skipped` is how many offsets retention has deleted before."""

    offset: int
    skipped: int = 0


def starts(
    known: Mapping[Partition, int], logs: Mapping[Partition, Log]
) -> dict[Partition, Start] | None:
    """Return where each partition continues; None if the offsets are of other topics.

    Topics that were deleted and created again end before the known offsets. Pure.
    """
    found = {}
    for place, log in logs.items():
        offset = known.get(place, log.begin)
        if offset > log.end:
            return None
        found[place] = Start(max(offset, log.begin), max(0, log.begin - offset))
    return found


def known(connection: Connection) -> dict[Partition, int]:
    """Return the next offset of each partition that was read."""
    columns = (POSITIONS.c.topic, POSITIONS.c.partition, POSITIONS.c.next_offset)
    rows = connection.execute(select(*columns))
    return {(row.topic, row.partition): row.next_offset for row in rows}


def keep(
    connection: Connection,
    found: Mapping[Partition, Start],
    logs: Mapping[Partition, Log],
    now: int,
) -> None:
    """Write where each partition continues, and forget partitions that are not read any more."""
    connection.execute(delete(POSITIONS))
    connection.execute(
        insert(POSITIONS),
        [
            {
                "topic": topic,
                "partition": number,
                "next_offset": start.offset,
                "end_offset": logs[topic, number].end,
                "looked_at": now,
            }
            for (topic, number), start in found.items()
        ],
    )

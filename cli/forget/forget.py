"""`bluetick forget`: find, ask, write tombstones, and print the data that stays."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console

from cli.confirmation import confirmed, require_terminal
from cli.forget import remains
from cli.forget.matching import Matches, Wanted
from cli.forget.remains import Remain
from cli.output.jsonl import print_json
from cli.output.records import shown_key
from cli.output.tables import PlainTable, text
from cli.problem_sentences import CommandProblem
from cli.spool import bodies_in
from deploy import consumer_groups, topics
from processors.archive import reader
from processors.runtime import log_ranges
from processors.tracking.drop_states import drop_states
from schemas.coordinates import at
from schemas.processor_list import TRACK
from schemas.records import RawOrigin, message_of, split_viewer_key
from schemas.topics import partition_of
from schemas.webhook import to_iso
from service.settings import Settings
from service.wall_clock import now_ms

_SHOWN = 20


class Found(NamedTuple):
    """The keys of `messages` to delete, and the raw bodies that their states name."""

    keys: Sequence[str]
    raw: Sequence[RawOrigin]

    @property
    def viewers(self) -> int:
        return sum(split_viewer_key(key) is not None for key in self.keys)

    @property
    def messages(self) -> int:
        return len(self.keys) - self.viewers


def forget(
    settings: Settings, target: str, *, archive: str | None, dry_run: bool, json: bool, yes: bool
) -> int:
    """Delete the states of a number's messages, or of one; returns 1 if nothing was deleted.

    Raises `Problem`, also while a tracker runs. Prints first what it finds, and what stays. A dry
    run ends there, and returns 1 if it finds nothing.
    """
    require_terminal("forgetting deletes states", yes=yes or dry_run)
    wanted = Wanted.of(target, settings.privacy_in_force.keys)
    _refuse_empty(wanted)
    if not dry_run:
        asyncio.run(_refuse_running(settings))
    found = asyncio.run(_search(settings, wanted))
    left = asyncio.run(_remains(settings, archive, found.raw))
    if not json:
        _print(Console(highlight=False), found, left)
    wish = bool(found.keys) and not dry_run
    done = wish and confirmed("Delete these states?", yes=yes)
    if done:
        asyncio.run(_drop(settings, found.keys))
    if json:
        print_json(_fields(found, left, deleted=done))
    elif done:
        Console(highlight=False).print("deleted; start the trackers again")
    return 0 if done or (dry_run and found.keys) else 1


def _refuse_empty(wanted: Wanted) -> None:
    if wanted.key is None and not wanted.number:
        raise CommandProblem(
            "nothing_to_forget",
            "an empty text names no messages; give a number or a message key",
        )


async def _refuse_running(settings: Settings) -> None:
    name = settings.topics.group(TRACK.name)
    group = await consumer_groups.group(settings, name)
    if group.members:
        raise CommandProblem(
            "forget_while_tracking",
            (
                "the group {name} has {members} members, and a running tracker would write its "
                "states again; stop every `bluetick track` of the namespace, and after a kill wait "
                "until their sessions expire"
            ),
            name=name,
            members=group.members,
        )


async def _search(settings: Settings, wanted: Wanted) -> Found:
    names = settings.topics
    await topics.require(settings, names.required)
    matches = Matches(wanted)
    spans = await log_ranges.everything(settings, [names.inbound])
    async for batch in log_ranges.consumed(settings, spans):
        for record in batch.records:
            matches.add_inbound(record.value)
    spans = await log_ranges.everything(settings, [names.messages])
    async for batch in log_ranges.consumed(settings, spans):
        for record in batch.records:
            if record.key is not None:
                matches.add_state(record.key.decode("utf-8", "replace"), record.value)
    return Found(matches.keys, matches.raw)


async def _remains(
    settings: Settings, archive: str | None, raw: Sequence[RawOrigin]
) -> list[Remain]:
    configs = {name: one.config for name, one in (await topics.describe(settings)).items()}
    spool = settings.spool
    return [
        *remains.of_topics(settings.topics, configs, now_ms()),
        *remains.elsewhere(
            None if spool is None else str(spool),
            None if spool is None else bodies_in(spool),
            None if archive is None else await _archived(archive, raw),
        ),
    ]


async def _archived(url: str, raw: Sequence[RawOrigin]) -> list[str]:
    """Return the files of an archive that hold the raw bodies."""
    archive = await reader.opened(url)
    files = {name for one in raw for name in archive.files_of(at(one))}
    return sorted(f"{archive.url}/{name}" for name in files)


async def _drop(settings: Settings, keys: Sequence[str]) -> None:
    by_partition: Mapping[int, list[str]] = defaultdict(list)
    for key in keys:
        by_partition[partition_of(message_of(key), settings.partitions)].append(key)
    await drop_states(settings, by_partition)


def _print(console: Console, found: Found, left: Sequence[Remain]) -> None:
    counts = f"the states of {found.messages} messages and {found.viewers} viewers"
    console.print(f"to be deleted: {counts}" if found.keys else "no state is found")
    for key in found.keys[:_SHOWN]:
        console.print(f"  {shown_key(key)}", soft_wrap=True, markup=False)
    if len(found.keys) > _SHOWN:
        console.print(f"  and {len(found.keys) - _SHOWN} more (--json shows all)")
    if found.raw:
        console.print(f"they name {len(found.raw)} raw bodies (--json shows them)")
    table = PlainTable(
        "Not deleted, and until when it is kept at the latest",
        text("where"),
        text("until"),
        text("holds"),
    )
    for one in left:
        table.add_row(one.where, "-" if one.until is None else to_iso(one.until), one.holds)
    console.print(table)


def _fields(found: Found, left: Sequence[Remain], *, deleted: bool) -> dict[str, object]:
    return {
        "deleted": deleted,
        "messages": found.messages,
        "viewers": found.viewers,
        "keys": list(found.keys),
        "raw": [f"{one.topic}/{one.partition}/{one.offset}" for one in found.raw],
        "left": [one.fields() for one in left],
    }

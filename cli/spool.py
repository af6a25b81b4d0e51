"""`bluetick spool`: show the spool's bodies, send them to Kafka, or copy them."""

import asyncio
import base64
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from sqlite3 import Error
from typing import BinaryIO

import msgspec
from rich.console import Console

from cli.cancellation import run_until_stopped
from cli.output import jsonl, progress
from cli.output.ages import age_text
from cli.output.tables import PlainTable, name, number, text
from cli.problem_sentences import CommandProblem
from ingest.delivery import open_spool
from ingest.publishing.publisher import Publisher
from ingest.spool import slots
from ingest.spool.database import FILE, MARKER, Row, head_of, look, readable
from ingest.spool.drainer import PAUSE_SECONDS, Drain
from ingest.spool.quota import Held
from ingest.spool.retry_schedule import MOST_IN_VAIN
from ingest.spool.spool import Spool, Unusable
from service.errors import Problem
from service.settings import Settings

_CLOSE_SECONDS = 2.0
_PRIVATE = 0o600
_JSONL = ".jsonl"

# Only the owner of a slot may read it.
_OTHER_USER = "run this as the user that ingest runs as"


def status(settings: Settings) -> int:
    """Print the bodies of each slot; returns 1 if one of them cannot be read."""
    spool = _directory(settings)
    names = (name("slot"), name("in use"), text("provider"))
    table = PlainTable("", *names, number("bodies"), number("bytes"), number("oldest"))
    trouble = False
    for slot in slots.known(spool):
        try:
            trouble |= not _show(table, slot)
        except OSError as error:
            table.add_row(slot.name, "?", "-", f"cannot be read: {error.strerror}", "", "")
            trouble = True
    console = Console(highlight=False)
    console.print(f"spool {spool}", soft_wrap=True)
    console.print(table)
    return 1 if trouble else 0


def _show(table: PlainTable, slot: Path) -> bool:
    """Add a slot's bodies to the table; False if its file is not readable. Raises `OSError`."""
    used = "yes" if slots.in_use(slot) else "no"
    held = _held(slot)
    for provider, one in (held or {}).items():
        age = "-" if one.oldest is None else age_text(time.time() - one.oldest / 1000)
        table.add_row(slot.name, used, provider, f"{one.bodies:,}", f"{one.bytes:,}", age)
    if not held:
        table.add_row(slot.name, used, "-", "0" if held == {} else "cannot be read", "", "")
    for file in slots.kept_aside(slot):
        size = file.stat().st_size
        table.add_row(slot.name, "", f"damaged: {file.name}", "", f"{size:,}", "")
    return held is not None


def bodies_in(directory: Path) -> int | None:
    """Return the number of bodies in a spool; None if it, or a slot, cannot be read."""
    try:
        held = [_held(slot) for slot in slots.known(directory)]
    except OSError:
        return None
    if None in held:
        return None
    return sum(one.bodies for slot in held for one in (slot or {}).values())


def drain(settings: Settings) -> int:
    """Send bodies that no running ingest holds to Kafka; raises `Problem` if some remain."""
    directory = _directory(settings)
    return run_until_stopped(
        _drain(settings, directory),
        f"stopped; the bodies that are not on Kafka are still in {directory}",
    )


def export(settings: Settings, to: Path) -> int:
    """Copy every body that can be read, damaged files included; nothing is removed."""
    files, unread = [], []
    for slot in slots.known(_directory(settings)):
        try:
            files += _files(slot)
        except OSError as error:
            unread.append(f"{slot} ({error.strerror})")
    rows = _each_once(row for file in files for row in readable(file))
    try:
        count = _to_lines(rows, to) if to.suffix == _JSONL else _to_files(rows, to)
    except FileExistsError:
        raise CommandProblem(
            "export_exists",
            "{to} exists already; name a new file or directory",
            to=str(to),
        ) from None
    except OSError as error:
        raise CommandProblem(
            "export_not_writable",
            "{to} cannot be written: {why}; name another path",
            to=str(to),
            why=error.strerror,
        ) from None
    Console(highlight=False).print(f"{count} bodies exported to {to}, each verified by its sha256")
    if unread:
        raise CommandProblem(
            "export_incomplete",
            "the export is not complete: {unread} cannot be read; {remedy}",
            unread=", ".join(unread),
            remedy=_OTHER_USER,
        )
    return 0


def _files(slot: Path) -> list[Path]:
    """Return the files of a slot with bodies; raises `OSError` if one cannot be read."""
    there = set(slot.iterdir())
    files = [file for file in (slot / FILE, *slots.kept_aside(slot)) if file in there]
    for file in files:
        file.open("rb").close()
    return files


def _each_once(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield each body once: salvaged bodies are in the damaged and the new file for a while."""
    seen = set()
    for row in rows:
        if row.webhook.id not in seen:
            seen.add(row.webhook.id)
            yield row


def _directory(settings: Settings) -> Path:
    if settings.spool is None:
        raise CommandProblem(
            "no_spool", "there is no spool; name its directory with BLUETICK_SPOOL"
        )
    try:
        list(settings.spool.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise CommandProblem(
            "no_spool_directory",
            "there is no spool in {spool} (BLUETICK_SPOOL): no such directory; correct the setting",
            spool=str(settings.spool),
        ) from None
    except OSError as error:
        raise CommandProblem(
            "spool_unreadable",
            "the spool {spool} (BLUETICK_SPOOL) cannot be read: {why}; {remedy}",
            spool=str(settings.spool),
            why=error.strerror,
            remedy=_OTHER_USER,
        ) from None
    return settings.spool


def _held(slot: Path) -> dict[str, Held] | None:
    """Return a slot's contents by provider; None if its file is not readable."""
    file = slot / FILE
    if not file.exists() and not (slot / MARKER).exists():
        return {}
    try:
        return look(file)
    except Error:
        return None


async def _drain(settings: Settings, directory: Path) -> int:
    publisher = Publisher(settings)
    await publisher.start()
    console = Console(stderr=True, highlight=False)
    sent, troubled = 0, []
    try:
        for name in slots.holding(directory):
            count, trouble = await _empty(settings, publisher, directory / name, console)
            sent += count
            if trouble:
                console.print(f"{directory / name}: {trouble}", soft_wrap=True)
                troubled.append(name)
    finally:
        publisher.close(0)
        await publisher.stop()
    in_use = [slot.name for slot in slots.known(directory) if _in_use(slot)]
    console.print(f"{sent} bodies sent")
    if in_use:
        console.print(f"in use, and drained by their ingest: {', '.join(in_use)}")
    if troubled:
        raise CommandProblem(
            "drain_incomplete",
            (
                "some bodies of {directory} are not on Kafka, in slot {troubled}; the lines above "
                "say why; see the rest with: bluetick spool status"
            ),
            directory=str(directory),
            troubled=", ".join(troubled),
        )
    return 0


def _in_use(slot: Path) -> bool:
    """Whether a slot is in use; False if this user may not know."""
    with suppress(OSError):
        return slots.in_use(slot)
    return False


async def _empty(
    settings: Settings, publisher: Publisher, directory: Path, console: Console
) -> tuple[int, str | None]:
    """Send a free slot's bodies; returns their number, and why some remain."""
    try:
        slot = slots.take_over(directory)
        if slot is None:
            return 0, None
        spool = await open_spool(settings, slot)
    except OSError as error:
        return 0, f"it cannot be reached: {error.strerror}; {_OTHER_USER}"
    except Problem as problem:
        return 0, str(problem)
    try:
        sent, why = await _send(publisher, spool, console)
    finally:
        await spool.close(_CLOSE_SECONDS)
        if spool.held.bodies:
            console.print(f"{spool.held.bodies} bodies stay in {directory}", soft_wrap=True)
    if not why and spool.set_aside:
        why = "a file was damaged; its readable bodies are on Kafka, and the file is kept"
    return sent, why


async def _send(publisher: Publisher, spool: Spool, console: Console) -> tuple[int, str | None]:
    """Send all bodies, also salvaged ones; returns early if Kafka acknowledges nothing."""
    moving = Drain(publisher, spool)
    sent = nothing = 0
    with progress.shown(console) as shown:
        count = shown.count(str(spool.directory), spool.held.bodies)
        while spool.held.bodies or slots.set_aside(spool.directory):
            forward, why = 0, None
            try:
                forward = await moving.forward()
            except Unusable as error:
                why = str(error)
            sent += forward
            count.show(sent, sent + spool.held.bodies)
            nothing = 0 if forward else nothing + 1
            if moving.in_vain or nothing == MOST_IN_VAIN:
                kafka = publisher.problem or "Kafka does not acknowledge them; check its log"
                return sent, why or kafka
            if not forward:
                await asyncio.sleep(PAUSE_SECONDS)
    return sent, None


def _to_lines(rows: Iterator[Row], to: Path) -> int:
    """Write a JSON line for each webhook, with its body in base64."""
    sums = []
    with jsonl.opened(to, to.name) as file:
        for row in rows:
            fields = _described(row) | {"body": base64.b64encode(row.webhook.body).decode()}
            sums.append(fields["sha256"])
            file.add(fields)
    with to.open("rb") as written:
        for line, expected in zip(written, sums, strict=True):
            _verify(base64.b64decode(msgspec.json.decode(line)["body"]), expected, to)
    return len(sums)


def _to_files(rows: Iterator[Row], to: Path) -> int:
    """Write a file for each body, and a list of them with the rest of each webhook."""
    to.mkdir(mode=0o700, parents=True)
    with jsonl.opened(to, f"webhooks{_JSONL}") as heads:
        for count, row in enumerate(rows, start=1):
            fields = _described(row)
            file = to / f"{count:08}-{row.webhook.id}.body"
            with _new(file) as body:
                body.write(row.webhook.body)
            _verify(file.read_bytes(), fields["sha256"], file)
            heads.add(fields | {"file": file.name})
    return heads.count


def _described(row: Row) -> dict[str, object]:
    """Return all of a webhook except its body, and the body's sha256."""
    return head_of(row.webhook) | {"sha256": hashlib.sha256(row.webhook.body).hexdigest()}


def _new(file: Path) -> BinaryIO:
    """Create a file that only this user may read: it holds personal data."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb")


def _verify(body: bytes, expected: object, file: Path) -> None:
    if hashlib.sha256(body).hexdigest() != expected:
        raise CommandProblem(
            "file_differs",
            "{file} does not contain the written bytes; check its disk",
            file=str(file),
        )

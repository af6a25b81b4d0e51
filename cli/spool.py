"""`bluetick spool`: what the spool holds, sent to Kafka by hand, or copied out."""

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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from cli.output.json_escaping import as_text
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
from service.signals import run_until_signal

_INTERRUPTED = 130
_CLOSE_SECONDS = 2.0
_PRIVATE = 0o600
_JSONL = ".jsonl"

# A place may be looked into by its owner only.
_BY_ANOTHER = "run this as the user that ingest runs as"


def status(settings: Settings) -> int:
    """Print what each place holds; 1 if something in one of them cannot be read."""
    spool = _directory(settings)
    table = Table("place", "in use", "provider", "bodies", "bytes", "oldest", box=None)
    trouble = False
    for place in slots.known(spool):
        try:
            trouble |= not _show(table, place)
        except OSError as error:
            table.add_row(place.name, "?", "-", f"cannot be read: {error.strerror}", "", "")
            trouble = True
    console = Console(highlight=False)
    console.print(f"spool {spool}", soft_wrap=True)
    console.print(table, soft_wrap=True)
    return 1 if trouble else 0


def _show(table: Table, place: Path) -> bool:
    """Show what a place holds; False if its file cannot be read. Raises `OSError`."""
    used = "yes" if slots.in_use(place) else "no"
    held = _held(place)
    for provider, one in (held or {}).items():
        age = "-" if one.oldest is None else _age(time.time() - one.oldest / 1000)
        table.add_row(place.name, used, provider, f"{one.bodies:,}", f"{one.bytes:,}", age)
    if not held:
        table.add_row(place.name, used, "-", "0" if held == {} else "cannot be read", "", "")
    for file in _aside(place):
        size = file.stat().st_size
        table.add_row(place.name, "", f"damaged: {file.name}", "", f"{size:,}", "")
    return held is not None


def drain(settings: Settings) -> int:
    """Send to Kafka what no running ingest holds, place by place; `Problem` unless all is there."""
    directory = _directory(settings)
    return run_until_signal(_drain(settings, directory), stopped=_INTERRUPTED)


def export(settings: Settings, to: Path) -> int:
    """Copy every body that can be read, damaged files included; nothing is removed."""
    files, unread = [], []
    for place in slots.known(_directory(settings)):
        try:
            files += _files(place)
        except OSError as error:
            unread.append(f"{place} ({error.strerror})")
    rows = _each_once(row for file in files for row in readable(file))
    try:
        count = _to_lines(rows, to) if to.suffix == _JSONL else _to_files(rows, to)
    except FileExistsError:
        raise Problem(f"{to} is there already; name a file or directory that is not") from None
    except OSError as error:
        raise Problem(f"{to} cannot be written: {error.strerror}; name another place") from None
    Console(highlight=False).print(f"{count} bodies exported to {to}, each verified by its sha256")
    if unread:
        raise Problem(f"not all is exported: {', '.join(unread)} cannot be read; {_BY_ANOTHER}")
    return 0


def _files(place: Path) -> list[Path]:
    """The files of a place that have bodies in them; raises `OSError` if one cannot be read."""
    there = set(place.iterdir())
    files = [file for file in (place / FILE, *_aside(place)) if file in there]
    for file in files:
        file.open("rb").close()
    return files


def _each_once(rows: Iterable[Row]) -> Iterator[Row]:
    """What was taken over from a damaged file is in the new one too, for a while."""
    seen = set()
    for row in rows:
        if row.webhook.id not in seen:
            seen.add(row.webhook.id)
            yield row


def _directory(settings: Settings) -> Path:
    if settings.spool is None:
        raise Problem("there is no spool: name its directory with BLUETICK_SPOOL")
    try:
        list(settings.spool.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise Problem(
            f"there is no spool in {settings.spool} (BLUETICK_SPOOL): no such directory"
        ) from None
    except OSError as error:
        raise Problem(
            f"the spool {settings.spool} (BLUETICK_SPOOL) cannot be read: {error.strerror}; "
            f"{_BY_ANOTHER}"
        ) from None
    return settings.spool


def _held(place: Path) -> dict[str, Held] | None:
    """What a place holds by provider; None if that cannot be read."""
    file = place / FILE
    if not file.exists() and not (place / MARKER).exists():
        return {}
    try:
        return look(file)
    except Error:
        return None


def _aside(place: Path) -> list[Path]:
    """Files that were set aside, without their journals."""
    found = [*place.glob(f"{FILE}.damaged-*"), *place.glob(f"{FILE}.salvaged-*")]
    return sorted(file for file in found if not file.name.endswith("-journal"))


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


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
    in_use = [place.name for place in slots.known(directory) if _in_use(place)]
    console.print(f"{sent} bodies sent")
    if in_use:
        console.print(f"in use, and drained by their ingest: {', '.join(in_use)}")
    if troubled:
        raise Problem(
            f"not all is on Kafka that was in {directory}, place {', '.join(troubled)}; "
            "what is said of it above says why, and `bluetick spool status` what is there still"
        )
    return 0


def _in_use(place: Path) -> bool:
    """Whether a place is in use, as far as we may know."""
    with suppress(OSError):
        return slots.in_use(place)
    return False


async def _empty(
    settings: Settings, publisher: Publisher, directory: Path, console: Console
) -> tuple[int, str | None]:
    """Send what a place holds if nobody has it: how many that were, and why it was not all."""
    try:
        place = slots.take_over(directory)
        if place is None:
            return 0, None
        spool = await open_spool(settings, place)
    except OSError as error:
        return 0, f"it cannot be reached: {error.strerror}; {_BY_ANOTHER}"
    except Problem as problem:
        return 0, str(problem)
    try:
        sent, why = await _send(publisher, spool, console)
    finally:
        await spool.close(_CLOSE_SECONDS)
        if spool.held.bodies:
            console.print(f"{spool.held.bodies} bodies stay in {directory}", soft_wrap=True)
    if not why and spool.set_aside:
        why = "a file was damaged; what could be read of it is on Kafka, and the file is kept"
    return sent, why


async def _send(publisher: Publisher, spool: Spool, console: Console) -> tuple[int, str | None]:
    """Send until nothing is left, what is being read of damaged files included, or in vain."""
    moving = Drain(publisher, spool)
    sent = nothing = 0
    with Progress(
        TextColumn(str(spool.directory)), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        task = bar.add_task("", total=spool.held.bodies)
        while spool.held.bodies or slots.set_aside(spool.directory):
            forward, why = 0, None
            try:
                forward = await moving.forward()
            except Unusable as error:
                why = str(error)
            sent += forward
            bar.update(task, completed=sent, total=sent + spool.held.bodies)
            nothing = 0 if forward else nothing + 1
            if moving.in_vain or nothing == MOST_IN_VAIN:
                kafka = publisher.problem or "Kafka does not acknowledge them; look at its log"
                return sent, why or kafka
            if not forward:
                await asyncio.sleep(PAUSE_SECONDS)
    return sent, None


def _to_lines(rows: Iterator[Row], to: Path) -> int:
    """A JSON line for each webhook, its body in base64."""
    sums = []
    with _new(to) as output:
        for row in rows:
            told = _described(row) | {"body": base64.b64encode(row.webhook.body).decode()}
            sums.append(told["sha256"])
            output.write(as_text(told).encode() + b"\n")
    with to.open("rb") as written:
        for line, expected in zip(written, sums, strict=True):
            _verify(base64.b64decode(msgspec.json.decode(line)["body"]), expected, to)
    return len(sums)


def _to_files(rows: Iterator[Row], to: Path) -> int:
    """A file for each body, and a list of them with everything else of each webhook."""
    to.mkdir(mode=0o700, parents=True)
    count = 0
    with _new(to / f"webhooks{_JSONL}") as output:
        for count, row in enumerate(rows, start=1):
            told = _described(row)
            file = to / f"{count:08}-{row.webhook.id}.body"
            with _new(file) as body:
                body.write(row.webhook.body)
            _verify(file.read_bytes(), told["sha256"], file)
            output.write(as_text(told | {"file": file.name}).encode() + b"\n")
    return count


def _described(row: Row) -> dict[str, object]:
    """Everything of a webhook but its body, and the body's sum."""
    return head_of(row.webhook) | {"sha256": hashlib.sha256(row.webhook.body).hexdigest()}


def _new(file: Path) -> BinaryIO:
    """A new file that only we may read: it holds personal data."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb")


def _verify(body: bytes, expected: object, file: Path) -> None:
    if hashlib.sha256(body).hexdigest() != expected:
        raise Problem(f"{file} does not hold what was written to it; look at its disk")

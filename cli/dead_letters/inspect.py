"""`bluetick dead-letters list|show|export`: look at dead letters, take them along."""

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cli.dead_letters.causes import Group, Selection, grouped, place, place_of, provider_of
from cli.dead_letters.reader import chosen, entries, finished, found_at, print_json, standing
from cli.output import jsonl, tables
from cli.output.records import Record, as_json, printable
from cli.output.redaction import shape
from cli.parse import lines
from cli.tail import resolve
from processors.dead_letters import record as deadletters
from processors.dead_letters.record import Kept
from processors.normalising.body_normaliser import Bodies
from processors.replay import dead_letter_retry
from processors.runtime.raw_record import RawRecord
from providers.json_slices import UNBOUNDED
from schemas.accounts import ACCOUNTS_HEADER
from schemas.coordinates import Coordinates
from schemas.webhook import to_iso
from service.errors import Problem
from service.settings import Settings

# Headers that hold no secret and nobody's data; of the others only the name is shown.
_PLAIN = {"ce_specversion", "ce_source", "ce_type", "ce_time", "content-type", "content-encoding"}
_PLAIN |= {"http-method", "user-agent", "x-request-id", "ce_id"}
_PLAIN |= {deadletters.ACCOUNT, ACCOUNTS_HEADER}


def list_(
    settings: Settings, meant: Selection, *, everything: bool, limit: int | None, json: bool
) -> int:
    """Print the causes of dead letters, those settled only with `everything`; returns 0."""
    groups = grouped(finished(standing(settings, meant)))
    shown = [group for group in groups if everything or group.open]
    left, settled = sum(group.open for group in groups), sum(group.resolved for group in groups)
    if json:
        for group in shown[:limit]:
            print_json(_told(group))
        return 0
    if shown:
        Console().print(tables.causes(shown[:limit], resolved=everything))
    more = f"; {len(shown) - limit} causes more" if limit and len(shown) > limit else ""
    hidden = "" if everything or not settled else " (not shown; --all shows them)"
    sys.stdout.write(f"{left} open{more}, {settled} resolved{hidden}\n")
    return 0


def show(settings: Settings, text: str, *, json: bool) -> int:
    """Print the dead letters at a place: on their topic, or those of a raw body; returns 0.

    Of a raw body that has none it is said what today's code makes of it.
    """
    at = place_of(text)
    kind, topic = resolve(settings.topics, at.topic)
    if kind not in ("raw", "dead-letters", "observations"):
        raise Problem(f"{topic} holds no dead letters; name a place on raw.* or dead-letters")
    at = at._replace(topic=topic)
    found = finished(found_at(settings, at))
    if not found and kind == "raw":
        return _show_raw(settings, at, json=json)
    if not found:
        raise Problem(f"there is no dead letter at {place(at)}")
    for record, kept in found:
        if json:
            sys.stdout.write(as_json(record) + "\n")
        else:
            _show(record, kept)
    return 0


def take_along(
    settings: Settings, meant: Selection, to: Path, *, everything: bool, limit: int | None
) -> int:
    """Write dead letters to a file, a JSON object a line, and say how many; returns 0."""
    letters = chosen(finished(standing(settings, meant)), limit, everything=everything)
    wanted = {kept.entry.at for kept in letters}

    async def write(file: jsonl.File) -> None:
        async for record, entry in entries(settings, meant.since):
            if entry and entry.at in wanted:
                file.add(record)

    with jsonl.opened(to, f"{settings.topics.dead_letters}.jsonl") as file:
        finished(write(file))
    sys.stdout.write(f"{file.count} dead letters written to {file.path}\n")
    return 0


def _show(record: Record, kept: Kept) -> None:
    entry = kept.entry
    told = [
        ("dead letter", f"{place(entry.at)}, written {to_iso(entry.timestamp)}"),
        ("raw body", f"{place(entry.letter.raw)} ({provider_of(entry)})"),
        ("code", entry.letter.code),
        ("reason", entry.reason),
        ("where", entry.letter.pointer or "the whole body"),
        ("state", f"resolved by {kept.resolved}" if kept.resolved else "open"),
        *((name, _header(name, value)) for name, value in record.headers if _further(name)),
        ("value", f"{len(record.value or b'')} bytes, masked (--json shows them)"),
    ]
    console = Console()
    for name, text in told:
        line = Text(f"{printable(name):15} ", style="dim")
        console.print(line.append(printable(text), style="default"), soft_wrap=True)
    for text in shape(record.value or b""):
        console.print(Text("  " + text), soft_wrap=True)


def _further(name: str) -> bool:
    """Whether a header says something that is not shown anyway."""
    shown = (deadletters.CODE, deadletters.MESSAGE, deadletters.POINTER, deadletters.TOPIC)
    return name not in (*shown, deadletters.PARTITION, deadletters.OFFSET)


def _header(name: str, value: bytes) -> str:
    ours = name in deadletters.PLAIN
    if ours or name in _PLAIN:
        return ", ".join(value.decode("utf-8", "replace").splitlines())
    return "…"


def _show_raw(settings: Settings, at: Coordinates, *, json: bool) -> int:
    """Say what today's code makes of a raw body without dead letters, and what it looks like."""

    async def body() -> RawRecord | None:
        kept, _ = await dead_letter_retry.there(settings, [at])
        async for found in dead_letter_retry.read(settings, kept):
            return found[0]
        return None

    raw = finished(body())
    if raw is None:
        raise Problem(f"there is neither a dead letter nor a body at {place(at)}")
    result = Bodies(settings).normalised(raw, UNBOUNDED)
    if json:
        sys.stdout.write("".join(line + "\n" for line in lines(result)))
        return 0
    console = Console()
    made = f"{len(result.observations)} observations, {len(result.dead_letters)} dead letters"
    console.print(Text(f"no dead letter is kept of {place(at)}; today's code makes of it {made}"))
    result.observations.clear()
    for line in lines(result):
        console.print(Text(line), soft_wrap=True)
    for line in shape(raw.body or b""):
        console.print(Text("  " + line), soft_wrap=True)
    return 0


def _told(group: Group) -> dict[str, object]:
    return {
        **group.cause._asdict(),
        "open": group.open,
        "resolved": group.resolved,
        "first": to_iso(group.first),
        "last": to_iso(group.last),
        "example": place(group.example),
    }

"""Dead letters by cause, as a table. Pure."""

from collections.abc import Iterable

from rich.text import Text

from cli.dead_letters.causes import Group, place
from cli.output.records import printable
from cli.output.tables import PlainTable, name, number, text
from schemas.webhook import to_iso


def causes(groups: Iterable[Group], *, resolved: bool) -> PlainTable:
    """Return a table of dead letters by cause, with `resolved` also their resolved number."""
    table = PlainTable(
        "Dead letters",
        name("provider, code"),
        text("reason, for example"),
        *map(number, ("open", "resolved") if resolved else ("open",)),
        name("first, last"),
    )
    for group in groups:
        provider, code, reason = map(printable, group.cause)
        counts = (group.open, group.resolved) if resolved else (group.open,)
        times = (to_iso(at)[:19].replace("T", " ") for at in (group.first, group.last))
        example = Text(f"{reason}\n").append(place(group.example), "dim")
        table.add_row(Text(f"{provider}\n{code}"), example, *map(str, counts), "\n".join(times))
    return table

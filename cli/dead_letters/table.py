"""Dead letters by cause, as a table. Pure."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from cli.dead_letters.causes import Group, place
from cli.output.records import printable
from cli.output.tables import plain_table
from schemas.webhook import to_iso


def causes(groups: Iterable[Group], *, resolved: bool) -> Table:
    """Return a table of dead letters by cause, with `resolved` also their resolved number."""
    table = plain_table("Dead letters", "provider, code")
    table.add_column("reason, for example", overflow="fold")
    for heading in ("open", "resolved") if resolved else ("open",):
        table.add_column(heading, justify="right")
    table.add_column("first, last", no_wrap=True)
    for group in groups:
        provider, code, reason = map(printable, group.cause)
        counts = (group.open, group.resolved) if resolved else (group.open,)
        times = (to_iso(at)[:19].replace("T", " ") for at in (group.first, group.last))
        example = Text(f"{reason}\n").append(place(group.example), "dim")
        table.add_row(Text(f"{provider}\n{code}"), example, *map(str, counts), "\n".join(times))
    return table

"""`bluetick sources check`: what is wrong with the file of sources, or who may send."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.sources import Declared
from ingest.sources_file import Senders, load


def check(file: Path | None) -> None:
    """Print the sources and where their secrets are kept; `Problem` if ingest would not start."""
    Console().print(_table(load(file)))


def _table(senders: Senders) -> Table:
    table = Table("source", "provider", "auth", "secrets", "addresses", box=None)
    declared = senders.declared or [
        Declared(source.name, source.provider, "none (built in)", {}, (), ())
        for source in senders.sources.values()
    ]
    for one in declared:
        secrets = ", ".join(map(str, one.places)) or "-"
        addresses = ", ".join(map(str, one.networks)) or "any"
        cells = (one.name, one.provider, one.auth, secrets, addresses)
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    return table

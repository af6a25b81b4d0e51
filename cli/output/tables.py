"""The style of the tables that commands print. Pure."""

from rich.box import SIMPLE_HEAD
from rich.table import Table


def plain_table(title: str, *columns: str) -> Table:
    """Return a table without a frame; the text in the named columns is never cut."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table

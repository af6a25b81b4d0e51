"""`bluetick tail`: the records of a topic, as other services read them."""

import sys
from typing import Annotated

import typer

from cli.options import Following, spread


@spread
def tail(
    topic: Annotated[str, typer.Argument(help="statuses, events, messages, raw.<provider>, …")],
    *,
    how: Following,
) -> None:
    """Follow a topic, one line per record, as other services read it (read committed)."""
    from cli import tail as following
    from service.settings import load

    sys.exit(following.run(load(), topic, how))

"""Bluetick's command line and composition root: which commands there are, and how they end."""

import logging
import sys
from typing import Annotated

import typer

from cli.commands import (
    archive,
    dead_letters,
    namespaces,
    replay,
    services,
    sources,
    spool,
    tail,
    test,
    topics,
    webhooks,
)
from service.errors import Problem
from service.version import __version__

app = typer.Typer(
    name="bluetick",
    help="Delivery webhooks of messaging providers, turned into one lifecycle per message.",
    epilog="Settings are environment variables BLUETICK_*: see docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order in which help shows them.
for command in (
    services.up,
    services.ingest,
    services.normalise,
    services.track,
    webhooks.parse,
    webhooks.explain,
    webhooks.send,
    tail.tail,
    archive.archive,
    namespaces.rebuild,
    namespaces.diff,
):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(test.test)
app.add_typer(topics.group, name="topics")
app.add_typer(sources.group, name="sources")
app.add_typer(spool.group, name="spool")
app.add_typer(dead_letters.group, name="dead-letters")
app.add_typer(replay.group, name="replay")
app.add_typer(namespaces.group, name="namespace")


def main() -> None:
    """Run the command line; what the user can mend is one sentence, and the exit code is 1."""
    # What its errors come to is our sentence; services let it speak once they run.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app(prog_name="bluetick")
    except Problem as problem:
        typer.secho(f"bluetick: {problem}", fg="red", err=True)
        sys.exit(1)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"bluetick {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    main()

"""Bluetick's command line and composition root: its commands, and how they end."""

import logging
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.commands import (
    archive,
    dead_letters,
    namespaces,
    replay,
    schemas,
    services,
    sources,
    spool,
    tail,
    test,
    topics,
    webhooks,
)
from cli.interrupt import EXIT_CODE, Interrupted, interruptible
from cli.messages import worded
from service import problem_pipe
from service.errors import Problem
from service.version import __version__


class Commands(TyperGroup):
    """All commands, and the error handling that they share."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; send a problem to the parent process, if that is Bluetick's."""
        starter: int | None = ctx.params["problem_to"]
        with interruptible():
            try:
                return super().invoke(ctx)
            except Problem as problem:
                if starter is None:
                    raise
                problem_pipe.send(starter, problem, worded(problem))
                sys.exit(1)


app = typer.Typer(
    name="bluetick",
    cls=Commands,
    help="Delivery webhooks of messaging providers, turned into one lifecycle per message.",
    epilog="Settings are environment variables BLUETICK_*: see docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order in which help shows them.
_COMMANDS: tuple[Callable[..., None], ...] = (
    *services.COMMANDS,
    webhooks.parse,
    webhooks.explain,
    webhooks.send,
    tail.tail,
    archive.archive,
    namespaces.rebuild,
    namespaces.diff,
)
for command in _COMMANDS:
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(test.test)
app.add_typer(topics.group, name="topics")
app.add_typer(schemas.group, name="schemas")
app.add_typer(sources.group, name="sources")
app.add_typer(spool.group, name="spool")
app.add_typer(dead_letters.group, name="dead-letters")
app.add_typer(replay.group, name="replay")
app.add_typer(namespaces.group, name="namespace")


def main() -> None:
    """Run the command line; print a `Problem` as one sentence, with exit code 1."""
    # Commands print a sentence for its errors; services set up logging when they start.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app(prog_name="bluetick")
    except Problem as problem:
        typer.secho(f"bluetick: {worded(problem)}", fg="red", err=True)
        sys.exit(1)
    except Interrupted as interrupted:
        typer.secho(f"bluetick: {interrupted}", fg="yellow", err=True)
        sys.exit(EXIT_CODE)


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
    problem_to: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    del problem_to  # see Commands


if __name__ == "__main__":
    main()

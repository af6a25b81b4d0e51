"""Bluetick's command line and composition root: its commands, and how they end."""

import logging
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.models import CommandInfo

from cli.command_examples import epilog
from cli.commands import (
    archive,
    config,
    dead_letters,
    doctor,
    forget,
    groups,
    namespaces,
    quality,
    replay,
    schemas,
    services,
    sources,
    spool,
    tail,
    test,
    topics,
    transactions,
    webhooks,
)
from cli.interrupt import EXIT_CODE, Interrupted, interruptible
from cli.problem_sentences import worded
from console.command import console
from service import problem_pipe
from service.errors import Problem
from service.kafka.service_name import name_service
from service.version import __version__

_RUN, _LOOK, _REPAIR = "Run", "Look", "Repair"
_DATA, _TRY = "Copy and rebuild data", "Try and test"
_HEADINGS = (_RUN, _LOOK, _REPAIR, _DATA, _TRY)


class Commands(TyperGroup):
    """All commands, and the error handling that they share."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of the headings in help."""

        def heading(name: str) -> int:
            return _HEADINGS.index(getattr(self.commands[name], "rich_help_panel", None) or _TRY)

        return sorted(super().list_commands(ctx), key=heading)

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


def _name(command: CommandInfo) -> str:
    assert command.callback is not None  # noqa: S101 - commands are functions
    return command.name or command.callback.__name__


app = typer.Typer(
    name="bluetick",
    cls=Commands,
    help="Delivery webhooks of messaging providers, turned into one lifecycle per message.",
    epilog="Settings are environment variables BLUETICK_*: see docs/settings.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order in which help shows them, each below its heading.
_COMMANDS: tuple[tuple[str, tuple[Callable[..., None], ...]], ...] = (
    (_RUN, (*services.COMMANDS, console)),
    (_LOOK, (tail.tail, quality.quality, doctor.doctor, webhooks.explain, webhooks.parse)),
    (_REPAIR, (forget.forget,)),
    (_DATA, (archive.archive, namespaces.rebuild, namespaces.diff)),
    (_TRY, (webhooks.send,)),
)
_GROUPS: tuple[tuple[str, str, typer.Typer], ...] = (
    (_RUN, "topics", topics.group),
    (_RUN, "sources", sources.group),
    (_LOOK, "config", config.group),
    (_LOOK, "schemas", schemas.group),
    (_REPAIR, "group", groups.group),
    (_REPAIR, "transactions", transactions.group),
    (_REPAIR, "dead-letters", dead_letters.group),
    (_REPAIR, "replay", replay.group),
    (_REPAIR, "spool", spool.group),
    (_DATA, "namespace", namespaces.group),
)
_TO_PYTEST = {"allow_extra_args": True, "ignore_unknown_options": True}

for heading, commands in _COMMANDS:
    for command in commands:
        app.command(rich_help_panel=heading)(command)
app.command(rich_help_panel=_TRY, context_settings=_TO_PYTEST)(test.test)
for heading, called, group in _GROUPS:
    app.add_typer(group, name=called, rich_help_panel=heading)
    for info in group.registered_commands:
        info.epilog = epilog(f"{called} {_name(info)}")
for info in app.registered_commands:
    info.epilog = epilog(_name(info))


def main() -> None:
    """Run the command line; print a `Problem` as one sentence, with exit code 1."""
    # Commands print a sentence for its errors; services set up logging when they start.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app(prog_name="bluetick")
    except Problem as problem:
        if not problem.logged:
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
    context: typer.Context,
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    problem_to: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    del problem_to  # see Commands
    name_service(context.invoked_subcommand or "")


if __name__ == "__main__":
    main()

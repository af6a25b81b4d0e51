"""Whole namespaces: `bluetick rebuild`, `bluetick diff`, and `bluetick namespace` to drop one."""

import sys
from typing import Annotated

import typer

from cli.options import Comparing, Rebuild, spread

group = typer.Typer(help="List and drop whole namespaces.", no_args_is_help=True)


@spread
def rebuild(*, how: Rebuild) -> None:
    """Derive a new namespace from the raw bodies of this one; see docs/rebuild.md."""
    from cli.commands.preflight import log_as_text
    from cli.namespaces import rebuild as rebuilding
    from service.settings import load

    settings = load()
    log_as_text("WARNING")
    sys.exit(rebuilding.run(settings, how))


@spread
def diff(
    a: Annotated[str, typer.Argument(help="A namespace.")],
    b: Annotated[str, typer.Argument(help="The second namespace.")],
    *,
    how: Comparing,
) -> None:
    """Compare the states of the messages in two namespaces; exit code 1 if they differ."""
    from cli.namespaces import compare as comparing
    from service.settings import load

    sys.exit(comparing.run(load(), a, b, how))


@group.command("list")
def list_() -> None:
    """List the namespaces on this Kafka, with their topics and group members."""
    import asyncio

    from cli.namespaces import manage
    from service.settings import load

    asyncio.run(manage.show(load()))


@group.command()
def drop(
    name: Annotated[str, typer.Argument(help="The namespace.")],
    *,
    confirm: Annotated[
        str | None, typer.Option(help="The name again; required without a terminal.")
    ] = None,
    keep_inputs: Annotated[
        bool, typer.Option("--keep-inputs", help="Keep the topics that other namespaces read.")
    ] = False,
) -> None:
    """Delete the topics, groups and local stores of a namespace, with their data."""
    from cli.namespaces import manage
    from service.settings import load

    manage.drop(load(), name, confirm=confirm, keep_inputs=keep_inputs)

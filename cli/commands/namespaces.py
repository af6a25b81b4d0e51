"""Whole namespaces: `bluetick rebuild`, `bluetick diff`, and `bluetick namespace` to drop one."""

import sys
from typing import Annotated

import typer

group = typer.Typer(help="List and drop whole namespaces.", no_args_is_help=True)


def rebuild(
    *,
    into: Annotated[str, typer.Option(help="The new namespace.", show_default=False)],
    from_observations: Annotated[
        bool, typer.Option("--from-observations", help="Track anew only; the normaliser stays.")
    ] = False,
    until_present: Annotated[
        bool, typer.Option("--until-present", help="End at the present instead of following.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a rebuild.")] = False,
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Begin where retention has left off.")
    ] = False,
) -> None:
    """Derive a namespace anew from the raw bodies of this one, beside it; see docs/rebuild.md."""
    from cli.commands.preflight import log
    from cli.namespaces import rebuild as rebuilding
    from service.settings import load

    settings = load()
    log("WARNING")
    wish = rebuilding.Wish(
        into=into,
        from_observations=from_observations,
        until_present=until_present,
        resume=resume,
        accept_gap=accept_gap,
    )
    sys.exit(rebuilding.run(settings, wish))


def diff(
    a: Annotated[str, typer.Argument(help="A namespace.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    *,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only messages first heard of since: 2026-05-01T12:00Z, -2h.", metavar="TIME"
        ),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Examples of each kind.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Compare the states of the messages in two namespaces; exit code 1 if they differ."""
    from cli.namespaces import compare as comparing
    from service.settings import load

    sys.exit(comparing.run(load(), a, b, since=since, examples=examples, json=json))


@group.command("list")
def list_() -> None:
    """Show the namespaces on this Kafka: their topics, and who is in their groups."""
    import asyncio

    from cli.namespaces import manage
    from service.settings import load

    asyncio.run(manage.show(load()))


@group.command()
def drop(
    name: Annotated[str, typer.Argument(help="The namespace.")],
    *,
    confirm: Annotated[
        str | None, typer.Option(help="The name once more, where nobody can be asked.")
    ] = None,
    keep_inputs: Annotated[
        bool, typer.Option("--keep-inputs", help="Keep what other namespaces read.")
    ] = False,
) -> None:
    """Delete the topics, groups and local stores of a namespace, with all that is in them."""
    from cli.namespaces import manage
    from service.settings import load

    manage.drop(load(), name, confirm=confirm, keep_inputs=keep_inputs)

"""`bluetick forget`: delete what `messages` holds of a person."""

import sys
from typing import Annotated

import typer

from cli.options import Json


def forget(
    target: Annotated[
        str, typer.Argument(metavar="NUMBER|KEY", help="A phone number, or a message key.")
    ],
    *,
    archive: Annotated[
        str | None,
        typer.Option(help="An archive: list its files that hold the messages' raw bodies."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted, and what stays.")
    ] = False,
    json: Json = False,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the question.")] = False,
) -> None:
    """Delete the states of a number's messages, while no tracker runs, and list what stays.

    A number is searched as recipient, sender and viewer, also hashed. Exit code 1 if nothing was
    deleted.
    """
    from cli.forget import forget as forgetting
    from service.settings import load

    sys.exit(
        forgetting.forget(load(), target, archive=archive, dry_run=dry_run, json=json, yes=yes)
    )

"""`bluetick schemas`: what is published about the records, for those who read the topics."""

from pathlib import Path
from typing import Annotated

import typer

group = typer.Typer(
    help="Print or export the schemas, examples and types of all records.", no_args_is_help=True
)


@group.command()
def export(
    directory: Annotated[Path, typer.Argument(help="Where to write; a folder for the version.")],
) -> None:
    """Write JSON Schemas, examples, an AsyncAPI document and types for consumers."""
    from cli.contracts.export import export as write

    typer.echo(write(directory))


@group.command()
def show(
    record: Annotated[
        str | None, typer.Argument(help="A record, such as status; default: list all.")
    ] = None,
    *,
    example: Annotated[bool, typer.Option("--example", help="An example instead.")] = False,
) -> None:
    """Print the JSON Schema of a record, or an example of it."""
    from cli.contracts import show as showing

    for line in showing.lines(record, example=example):
        typer.echo(line)


@group.command()
def dictionary(
    file: Annotated[
        Path | None, typer.Argument(help="Where to write it; default: the standard output.")
    ] = None,
) -> None:
    """Print the data dictionary, docs/data-dictionary.md: every field and every word."""
    from cli.contracts.dictionary import page
    from cli.contracts.examples import candidates, examples
    from cli.contracts.export import save
    from cli.contracts.published import versions

    best, every = examples(), candidates()
    made = {name: [best[name], *every[name]] for name in best}
    text = page(versions(), made)
    if file is None:
        typer.echo(text, nl=False)
    else:
        save({file: text})

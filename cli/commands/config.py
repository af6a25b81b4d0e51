"""`bluetick config`: the settings in effect."""

import sys

import typer

from cli.options import Data, Json, Port

group = typer.Typer(help="Show the settings in effect.", no_args_is_help=True)


@group.command()
def show(*, port: Port = None, data: Data = None, json: Json = False) -> None:
    """Print each setting with its origin: default, environment, option or file.

    Secrets are masked. Settings that contradict each other are refused, as every command does.
    """
    from cli import config

    sys.exit(config.show({"port": port, "data": data}, json=json))

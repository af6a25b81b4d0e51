"""The command line before any command runs: loaded packages, and groups of options."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from cli.options import spread
from tests import HOME

# Packages of commands that use the network, and packages that typer needs for numbers and paths.
HEAVY = {"aiokafka", "fsspec", "jgo", "pyarrow", "pytest", "rocksdict", "starlette", "uvicorn"}
TYPERS = {"asyncio", "msgspec", "pydantic"}


def loaded(*arguments: str) -> set[str]:
    """The packages that a command line has loaded by its end."""
    program = """if True:
        import atexit, sys
        atexit.register(lambda: print(*sys.modules, file=sys.stderr))
        import bluetick
        bluetick.main()
    """
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    return {name.partition(".")[0] for name in ended.stderr.splitlines()[-1].split()}


@pytest.mark.parametrize("arguments", ["--help", "--version"])
def test_help_is_there_at_once(arguments: str) -> None:
    """Help loads only the commands and typer."""
    assert loaded(*arguments.split()) & (HEAVY | TYPERS) == set()


@pytest.mark.parametrize("arguments", ["sources check", "replay run --help", "archive --no"])
def test_local_commands_load_no_client_or_server(arguments: str) -> None:
    """A sources file and an invalid option need neither a Kafka client nor a server."""
    assert loaded(*arguments.split()) & HEAVY == set()


@dataclass(frozen=True)
class Colour:
    """A group of options."""

    red: Annotated[int, typer.Option(help="How red.")] = 0
    name: Annotated[str | None, typer.Option("--called")] = None


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ("here", "here Colour(red=0, name=None) False"),
        ("--red 3 here --loud", "here Colour(red=3, name=None) True"),
        ("here --called rust", "here Colour(red=0, name='rust') False"),
    ],
)
def test_a_group_of_options_is_one_value(arguments: str, printed: str) -> None:
    """The user gives the options of a group one by one; the command receives the group."""
    app = typer.Typer()

    @app.command()
    @spread
    def paint(
        place: str, *, colour: Colour, loud: Annotated[bool, typer.Option("--loud")] = False
    ) -> None:
        typer.echo(f"{place} {colour} {loud}")

    assert CliRunner().invoke(app, arguments.split()).output == f"{printed}\n"

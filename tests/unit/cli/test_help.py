"""The help of every command: examples that work, and the settings behind its options."""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import bluetick
from service.settings import Settings
from tests import HOME

ROOT: Any = typer.main.get_command(bluetick.app)
_BEHIND = re.compile(r"\\\[env: BLUETICK_(\w+)\] \\\[default: (.+?)\]$")


def _commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each command that does something, and its full name."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from _commands(one, (*path, name))
        else:
            yield " ".join((*path, name)), one


COMMANDS = dict(_commands())


def _setting(command: str, parameter: str) -> str | None:
    """The setting of a parameter's name after the command's, or of the same name."""
    names = (f"{command}_{parameter}", parameter)
    return next((name for name in names if name in Settings.model_fields), None)


# Every parameter that overrides a setting, by its command.
OVERRIDING = {
    (name, parameter.name): (setting, parameter)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if (setting := _setting(name, parameter.name))
}


def test_the_parameters_that_override_settings_are_known() -> None:
    """All that `load` is called with in the command line are parameters of these names."""
    passed = set()
    for path in HOME.glob("cli/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "load":
                passed |= {one.arg for one in node.keywords if one.arg}
    assert passed == {"data", "port"}
    assert {(command, setting) for (command, _), (setting, _) in OVERRIDING.items()} == {
        ("config show", "data"),
        ("config show", "port"),
        ("up", "port"),
        ("up", "data"),
        ("ingest", "port"),
        ("normalise", "normalise_health_port"),
        ("track", "track_health_port"),
        ("track", "data"),
        ("measure", "measure_health_port"),
        ("measure", "data"),
        ("console", "console_host"),
        ("console", "console_port"),
        ("console", "console_health_port"),
        ("console", "data"),
    }


@pytest.mark.parametrize(("command", "parameter"), OVERRIDING)
def test_an_option_shows_its_variable_and_default(command: str, parameter: str) -> None:
    """The help of an option that overrides a setting ends with both."""
    setting, option = OVERRIDING[command, parameter]
    behind = _BEHIND.search(option.help)
    assert behind, option.help
    assert behind[1].lower() == setting
    assert behind[2] == str(Settings.model_fields[setting].default)


def test_every_variable_that_help_shows_is_a_setting() -> None:
    """Also of arguments and options with another name, such as that of the sources file."""
    found = {
        (name, behind[1].lower())
        for name, command in COMMANDS.items()
        for parameter in command.params
        if (behind := _BEHIND.search(getattr(parameter, "help", None) or ""))
    }
    assert {setting for _, setting in found} <= set(Settings.model_fields)
    assert {("sources check", "sources"), ("dead-letters retry", "sources")} <= found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_two_examples_that_its_parser_accepts(command: str) -> None:
    """The examples of a command are of this command, and their options and arguments exist."""
    title, *examples = (COMMANDS[command].epilog or "").split("\n\n")
    assert title == "Examples:"
    assert len(examples) == 2
    for example in examples:
        words = shlex.split(example.replace("\\[", "["))
        while re.match(r"BLUETICK_\w+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            Settings.model_validate({name.removeprefix("BLUETICK_").lower(): value})
        path = ["bluetick", *command.split()]
        assert words[: len(path)] == path
        COMMANDS[command].make_context(command, words[len(path) :])


def test_every_command_is_below_a_heading() -> None:
    """Help shows the headings in the order in which a user needs them."""
    shown = CliRunner().invoke(bluetick.app, ["--help"], env={"COLUMNS": "80"}).output
    headings = re.findall(r"^╭─ (.+?) ─+╮$", shown, re.MULTILINE)
    assert headings == ["Options", "Run", "Look", "Repair", "Copy and rebuild data", "Try and test"]


def test_the_shell_completes_commands_and_options() -> None:
    """By the protocol of typer's script for bash, without a package that takes long to load."""
    for typed, completed in (("dead", "dead-letters"), ("tail --from-", "--from-start")):
        words = f"bluetick {typed}"
        ended = subprocess.run(
            [sys.executable, Path(bluetick.__file__)],
            env={
                **os.environ,
                "_BLUETICK_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(words.count(" ")),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stdout.split() == [completed], ended.stderr

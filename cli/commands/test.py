"""`bluetick test`: the tests, which only a checkout has."""

import os
import sys

import typer


def test(context: typer.Context) -> None:
    """Run the tests of this checkout; further options go to pytest."""
    from cli.own_command import HOME
    from cli.problem_sentences import CommandProblem

    if not (HOME / "tests").is_dir():
        raise CommandProblem(
            "tests_not_installed",
            "the tests are not part of the installed package; run ./bluetick test in a checkout",
        )
    import pytest

    os.chdir(HOME)
    sys.exit(pytest.main(context.args))

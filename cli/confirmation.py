"""A question before a command changes something on Kafka."""

import sys

import typer

from cli.problem_sentences import CommandProblem


def require_terminal(what: str, *, yes: bool) -> None:
    """Raise `Problem` if there is neither a terminal for the question nor `--yes`."""
    if not yes and not sys.stdin.isatty():
        raise CommandProblem(
            "no_terminal_to_confirm",
            "{what}, and there is no terminal to confirm it; add --yes",
            what=what,
        )


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the change may be made."""
    return yes or typer.confirm(question)

"""Ctrl-C: one sentence and exit code 130, unless stopping is how a command normally ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

EXIT_CODE = 130


class Interrupted(Exception):
    """The user stopped the command; the sentence says what that leaves."""


@contextmanager
def interruptible(sentence: str = "stopped") -> Iterator[None]:
    """Turn Ctrl-C into `Interrupted`, also at a prompt."""
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):
        raise Interrupted(sentence) from None


class Commands(TyperGroup):
    """All commands: Ctrl-C in one that has no sentence of its own has this one's."""

    def invoke(self, ctx: Any) -> Any:
        with interruptible():
            return super().invoke(ctx)

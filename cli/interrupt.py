"""Ctrl-C: one sentence and exit code 130, unless stopping is how a command normally ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

EXIT_CODE = 130


class Interrupted(Exception):
    """The user stopped the command; the sentence says what remains."""


@contextmanager
def interruptible(sentence: str = "stopped") -> Iterator[None]:
    """Turn Ctrl-C into `Interrupted`, also at a prompt."""
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):
        raise Interrupted(sentence) from None

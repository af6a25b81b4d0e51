"""Running the work of a command until SIGINT or SIGTERM cancels it."""

from collections.abc import Coroutine
from typing import Any

from cli.interrupt import Interrupted
from service.signals import run_until_signal


def run_until_stopped(work: Coroutine[Any, Any, int], sentence: str | None = None) -> int:
    """Run to the end, or until SIGINT or SIGTERM cancels the work; returns the exit code.

    Without a sentence, stopping is the normal end and returns 0; else it raises `Interrupted`.
    """
    code = run_until_signal(work)
    if code is not None:
        return code
    if sentence is None:
        return 0
    raise Interrupted(sentence)

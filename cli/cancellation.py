"""Asynchronous work of a command that SIGINT and SIGTERM cancel."""

from collections.abc import Coroutine
from typing import Any

from cli.interrupt import Interrupted
from service.signals import run_until_signal


def run_until_stopped(work: Coroutine[Any, Any, int], sentence: str | None = None) -> int:
    """Run to the end, or to SIGINT or SIGTERM, which cancel it; returns the exit code.

    Stopping is the normal end of work without a sentence: it returns 0. Else it is `Interrupted`.
    """
    code = run_until_signal(work)
    if code is not None:
        return code
    if sentence is None:
        return 0
    raise Interrupted(sentence)

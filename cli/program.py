"""This command line as a program: where it is, and how another process of it is started."""

import sys
from pathlib import Path

from service.child_processes import dying_with_parent

HOME = Path(__file__).parents[1]


def another(*arguments: str, problem_to: int) -> list[str]:
    """The command of a further process, which the kernel ends with this one.

    The problem it ends with, if any, is written to the descriptor `problem_to`.
    """
    line = [str(HOME / "bluetick.py"), "--problem-to", str(problem_to), *arguments]
    return dying_with_parent([sys.executable, *line])

"""The command line as a program: its path, and the command of another process of it."""

import sys
from pathlib import Path

from service.child_processes import dying_with_parent

HOME = Path(__file__).parents[1]


def another(*arguments: str, problem_to: int) -> list[str]:
    """Return the command of a further process, which the kernel ends with this one.

    If it ends with a problem, it writes that to the descriptor `problem_to`.
    """
    line = [str(HOME / "bluetick.py"), "--problem-to", str(problem_to), *arguments]
    return dying_with_parent([sys.executable, *line])

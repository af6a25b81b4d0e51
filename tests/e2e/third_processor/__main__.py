"""`bluetick` with the processor `count` in the list, in this process and in those it starts."""

import sys
from pathlib import Path

HERE = Path(__file__)


def main() -> None:
    """Enter the processor, then run the command line."""
    sys.path[0] = str(HERE.parents[3])
    # After the path is set, and in this order: the list is read when the others are imported.
    from schemas import processor_list  # noqa: PLC0415
    from tests.e2e.third_processor import COUNT  # noqa: PLC0415

    processor_list.PROCESSORS = (*processor_list.PROCESSORS, COUNT)

    from cli import own_command  # noqa: PLC0415
    from service.child_processes import dying_with_parent  # noqa: PLC0415

    def another(*arguments: str, problem_to: int) -> list[str]:
        line = [str(HERE), "--problem-to", str(problem_to), *arguments]
        return dying_with_parent([sys.executable, *line])

    own_command.another = another

    import bluetick  # noqa: PLC0415

    bluetick.main()


if __name__ == "__main__":
    main()

"""`bluetick doctor`: what is wrong with an installation."""

import sys

from cli.options import Json


def doctor(*, json: Json = False) -> None:
    """Check broker, topics, rights, groups, clock, versions, spool and disks; say what to do.

    It changes nothing, and looks at the other parts if one fails. Exit code 0: no problem; 1: at
    least one problem. Warnings do not count. See docs/doctor.md for the codes.
    """
    from cli.doctor import doctor as checking
    from service.settings import load

    sys.exit(checking.run(load(), json=json))

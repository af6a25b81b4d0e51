"""Run a command that the kernel kills when the process that asked for it is gone.

Run as a script, not imported: `python -I -S die_with_parent.py <pid of the parent> <command>...`.
The command takes the place of this process, so it keeps the process id. Only Linux can do this;
elsewhere the command simply runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; the setting outlives execve (prctl(2))


def main() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # A parent that ended before the line above has sent no signal.
        if os.getppid() != int(sys.argv[1]):
            sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (without a shell is the point)


if __name__ == "__main__":
    main()

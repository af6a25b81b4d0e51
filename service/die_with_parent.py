"""Run a command that the kernel kills when its parent process ends.

Run as a script, not imported: `python -I -S die_with_parent.py <pid of the parent> <command>...`.
The command takes the place of this process, so it keeps the process id. Only Linux can do this;
elsewhere the command runs without it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; the setting outlives execve (prctl(2))


def main() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # If the parent ended before the line above, the kernel sends no signal.
        if os.getppid() != int(sys.argv[1]):
            sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (without a shell is the point)


if __name__ == "__main__":
    main()

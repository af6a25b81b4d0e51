"""A PostgreSQL for tests: a server of the machine, on a socket in a directory of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 60
_DEBIAN = "/usr/lib/postgresql"


def found(program: str) -> str | None:
    """Return the path of a program of PostgreSQL; Debian has them beside the search path."""
    places = sorted(Path(_DEBIAN).glob(f"*/bin/{program}"))
    return str(places[-1]) if places else shutil.which(program)


@contextmanager
def running() -> Iterator[str]:
    """Run a server; yields the URL of its database."""
    # The server refuses to run as root, and another user may be denied the way to root's TMPDIR.
    user, place = ("nobody", "/dev/shm") if os.geteuid() == 0 else (None, None)
    directory = Path(tempfile.mkdtemp(prefix="bluetick-pg-", dir=place))
    if user:
        shutil.chown(directory, user)
    data = directory / "data"
    options = f"-c listen_addresses= -k {directory} -c fsync=off"

    def call(program: str, *arguments: str) -> None:
        command = [found(program) or program, "-D", str(data), *arguments]
        subprocess.run(
            command,
            check=True,
            user=user,
            cwd=directory,
            timeout=_SECONDS,
            stdout=subprocess.DEVNULL,
        )

    try:
        call("initdb", "-U", "bluetick", "-A", "trust", "-E", "UTF8", "--no-sync")
        call("pg_ctl", "start", "-w", "-l", str(directory / "log"), "-o", options)
        try:
            yield f"postgresql://bluetick@/postgres?host={directory}"
        finally:
            call("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(directory, ignore_errors=True)

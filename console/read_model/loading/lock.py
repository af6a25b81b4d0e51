"""One loader for each database: others wait, or serve what it has loaded."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.sql.functions import func

from console.read_model.database import Database

_NUMBER = 0x626C7565  # PostgreSQL's advisory locks are numbers


@contextmanager
def locked(database: Database) -> Iterator[bool]:
    """Yield whether this process may load now; the lock is held during the block."""
    manager = _locked_file if database.file else _locked_advisory
    with manager(database) as mine:
        yield mine


@contextmanager
def _locked_file(database: Database) -> Iterator[bool]:
    assert database.file is not None  # noqa: S101 - see `locked`
    with Path(f"{database.file}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _locked_advisory(database: Database) -> Iterator[bool]:
    """Hold PostgreSQL's lock in a session of its own; it ends with the session."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        mine = connection.execute(select(func.pg_try_advisory_lock(_NUMBER))).scalar_one()
        try:
            yield mine
        finally:
            if mine:
                connection.execute(select(func.pg_advisory_unlock(_NUMBER)))

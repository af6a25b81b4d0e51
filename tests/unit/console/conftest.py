"""A database with the records of some hundred messages."""

from pathlib import Path

import pytest

from console.read_model.database import Database
from tests.unit.console.read_model.topic_records import filled


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """A filled read model in SQLite; tests only read it."""
    directory: Path = tmp_path_factory.mktemp("console")
    return filled(f"sqlite:///{directory / 'bluetick.sqlite'}")

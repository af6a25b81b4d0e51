"""The same read model in PostgreSQL: equal rows, equal answers, one loader."""

from collections.abc import Iterator

import pytest
from sqlalchemy import delete, select

from console.read_model.changes import Changes
from console.read_model.database import Database
from console.read_model.loading.lock import locked
from console.read_model.loading.positions import Log, Start, keep
from console.read_model.loading.retention import sweep
from console.read_model.queries import dead_letters, messages, overview, timeline
from console.read_model.results import LetterFilter, MessageFilter
from console.read_model.tables import METADATA, POSITIONS
from console.read_model.write import Move, MovedError, write
from tests.unit.console.read_model.postgres import found, running
from tests.unit.console.read_model.test_write import contents
from tests.unit.console.read_model.topic_records import BEGAN, filled, outcomes

pytestmark = pytest.mark.skipif(found("initdb") is None, reason="there is no PostgreSQL here")

AT = ("bluetick.statuses", 0)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    """A filled read model in PostgreSQL."""
    with running() as url:
        made = filled(url)
        yield made
        made.engine.dispose()


def test_its_rows_are_those_of_sqlite(postgres: Database, database: Database) -> None:
    assert contents(postgres) == contents(database)


def test_its_answers_are_those_of_sqlite(postgres: Database, database: Database) -> None:
    with postgres.reading() as one, database.reading() as other:
        for wanted in (
            MessageFilter(),
            MessageFilter(text="simulated", statuses=("delivered", "read")),
            MessageFilter(stalled=True),
            MessageFilter(contradicted=True, provider="smsmanager"),
            MessageFilter(time="event"),
            MessageFilter(time="event", gateway="viber", text="simulated"),
        ):
            page = messages.search(one, wanted, limit=5)
            assert page == messages.search(other, wanted, limit=5)
            assert messages.search(one, wanted, cursor=page.next) == messages.search(
                other, wanted, cursor=page.next
            )
        for key in list(outcomes()[-1].messages)[:50]:
            assert timeline.find(one, key) == timeline.find(other, key)
        assert dead_letters.groups(one, LetterFilter()) == dead_letters.groups(
            other, LetterFilter()
        )
        assert overview.overview(one, BEGAN) == overview.overview(other, BEGAN)
        assert messages.choices(one) == messages.choices(other)


def test_one_process_loads(postgres: Database) -> None:
    other = Database(postgres.url)
    with locked(postgres) as first, locked(other) as second:
        assert (first, second) == (True, False)
    other.engine.dispose()
    with locked(postgres) as again:
        assert again


def test_a_batch_on_other_offsets_is_refused(postgres: Database) -> None:
    with postgres.writing() as connection:
        keep(connection, {AT: Start(0)}, {AT: Log(0, 9)}, now=1)
    write(postgres, Changes(), {AT: Move(0, 9, 9)}, now=2)
    with pytest.raises(MovedError):
        write(postgres, Changes(), {AT: Move(0, 9, 9)}, now=3)
    with postgres.writing() as connection:
        connection.execute(delete(POSITIONS))


def test_retention_drops_everything_that_is_old(postgres: Database) -> None:
    sweep(postgres, 2**50)
    with postgres.reading() as connection:
        left = {
            table.name: connection.execute(select(table)).all() for table in METADATA.sorted_tables
        }
    assert [name for name, rows in left.items() if rows] == ["about"]

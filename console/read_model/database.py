"""The database of the read model: SQLite in the data directory, or PostgreSQL by its URL."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Table,
    cast,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    true,
)
from sqlalchemy.engine import make_url

from console.read_model.tables import ABOUT, FORMAT, INDEXES, METADATA, TERM_CHANGES, TERMS
from service import private_files

_BUSY_SECONDS = 30
_CACHE_KIB = 256 * 1024
_ANALYSED = 1000  # rows of each index that SQLite's planner gets to know

_INDEXED = "indexed"  # the row of `about` that says that the secondary indexes are made

Row = Sequence[Any]


def sqlite_url(directory: Path, namespace: str) -> str:
    """Return the URL of the embedded database; its directory is made, and private."""
    private_files.directory(directory)
    return f"sqlite:///{directory / namespace}.sqlite"


class Database:
    """The tables in one database; connections of several threads may read while one writes.

    `file` is SQLite's, None for PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        self.file: str | None = None
        if parsed.get_backend_name() == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
            self.engine = create_engine(parsed, pool_pre_ping=True)
        else:
            self.file = parsed.database
            options = {"check_same_thread": False, "timeout": _BUSY_SECONDS}
            self.engine = create_engine(parsed, connect_args=options)
            _prepare_sqlite(self.engine, self.file)
        self._mark = "?" if self.engine.dialect.name == "sqlite" else "%s"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the database."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in a transaction, which ends with the block."""
        with self.engine.begin() as connection:
            yield connection

    def create(self) -> None:
        """Create the tables, without the secondary indexes; drop those of another version."""
        with self.writing() as connection:
            if inspect(connection).has_table(ABOUT.name) and self._other_format(connection):
                METADATA.drop_all(connection)
            for table in METADATA.sorted_tables:
                _create(connection, table)
            if _value(connection, "format") is None:
                connection.execute(insert(ABOUT).values(name="format", value=str(FORMAT)))

    def create_indexes(self) -> None:
        """Create `terms` and the secondary indexes, and let the planner know the tables.

        Either all are created or none; what exists already stays.
        """
        with self.writing() as connection:
            _create_terms(connection)
            for index in INDEXES:
                index.create(connection, checkfirst=True)
            self.note(connection, _INDEXED, "")
        with self.writing() as connection:
            connection.exec_driver_sql("ANALYZE")

    def is_indexed(self, connection: Connection) -> bool:
        """Return whether the secondary indexes are made, and `terms` is kept."""
        return _value(connection, _INDEXED) is not None

    def clear(self) -> None:
        """Drop everything: the next load begins at the start of the topics."""
        with self.writing() as connection:
            METADATA.drop_all(connection)
        self.create()

    def note(self, connection: Connection, name: str, value: str) -> None:
        """Keep a value in `about`."""
        connection.execute(delete(ABOUT).where(ABOUT.c.name == name))
        connection.execute(insert(ABOUT).values(name=name, value=value))

    def value(self, name: str) -> str | None:
        """Return a value of `about`."""
        with self.reading() as connection:
            return _value(connection, name)

    def put(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[tuple[Any, ...]],
        *,
        add: str | None = None,
    ) -> None:
        """Insert rows, replacing those with the same primary key; the rows have all columns.

        With `add`, that column is added to the present value instead.
        """
        if rows:
            connection.exec_driver_sql(self._upsert(table, add), list(rows))

    def find(
        self, connection: Connection, columns: Sequence[Column[Any]], keys: Sequence[object]
    ) -> Sequence[Row]:
        """Return these columns of the rows with these primary keys; a table's key is one column.

        SQLAlchemy would compile a statement for each number of keys.
        """
        [key] = columns[0].table.primary_key.columns
        names = ", ".join(_quoted(one.name) for one in columns)
        marks = ", ".join([self._mark] * len(keys))
        query = f"SELECT {names} FROM {key.table.name} WHERE {_quoted(key.name)} IN ({marks})"  # noqa: S608 - our own names
        return connection.exec_driver_sql(query, tuple(keys)).all()

    def remove(
        self,
        connection: Connection,
        table: Table,
        keys: Sequence[tuple[Any, ...]],
        *,
        at_zero: str = "",
    ) -> None:
        """Delete the rows with these primary keys; with `at_zero`, if that column is 0."""
        if keys:
            matches = [f"{_quoted(one.name)} = {self._mark}" for one in table.primary_key.columns]
            wanted = " AND ".join(matches + ([f"{_quoted(at_zero)} = 0"] if at_zero else []))
            connection.exec_driver_sql(
                f"DELETE FROM {table.name} WHERE {wanted}",  # noqa: S608 - our own names
                list(keys),
            )

    def _upsert(self, table: Table, add: str | None) -> str:
        keys = [one.name for one in table.primary_key.columns]
        names = [one.name for one in table.columns]
        marks = ", ".join([self._mark] * len(names))
        changes = ", ".join(
            f"{_quoted(name)} = excluded.{_quoted(name)}"
            + (f" + {table.name}.{_quoted(name)}" if name == add else "")
            for name in names
            if name not in keys
        )
        plain = f"INSERT INTO {table.name} ({', '.join(map(_quoted, names))}) VALUES ({marks})"  # noqa: S608
        if not keys:
            return plain
        return f"{plain} ON CONFLICT ({', '.join(map(_quoted, keys))}) DO " + (
            f"UPDATE SET {changes}" if changes else "NOTHING"
        )

    @staticmethod
    def _other_format(connection: Connection) -> bool:
        return _value(connection, "format") != str(FORMAT)


def _value(connection: Connection, name: str) -> str | None:
    return connection.execute(select(ABOUT.c.value).where(ABOUT.c.name == name)).scalar()


def _create_terms(connection: Connection) -> None:
    """Move the changes of the first load into `terms`, in the order of its key."""
    columns = TERM_CHANGES.c
    if connection.dialect.name == "sqlite":
        values = func.json_each(columns.terms).table_valued("value")
    else:
        values = func.json_array_elements_text(cast(columns.terms, JSON)).table_valued("value")
    row = (cast(values.c.value, BigInteger), columns.first_seen_at, columns.message)
    rows = select(*row).select_from(TERM_CHANGES.join(values, true()))
    rows = rows.group_by(*row).having(func.sum(columns.change) > 0).order_by(*row)
    connection.execute(insert(TERMS).from_select([one.name for one in TERMS.c], rows))
    connection.execute(delete(TERM_CHANGES))


def _quoted(name: str) -> str:
    return f'"{name}"'


def _create(connection: Connection, table: Table) -> None:
    """Create a table if it is missing, without its indexes."""
    indexes: set[Index] = set(table.indexes)
    table.indexes.clear()
    try:
        table.create(connection, checkfirst=True)
    finally:
        table.indexes.update(indexes)


def _prepare_sqlite(engine: Engine, file: str | None) -> None:
    """Set up each connection; a transaction begins where SQLAlchemy begins one."""
    directory = str(Path(file).parent).replace("'", "''") if file else ""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            # A crash of the machine may lose the last transactions, offsets included.
            "synchronous = NORMAL",
            f"cache_size = -{_CACHE_KIB}",
            # A sort beyond the cache, such as that of all terms, goes to files beside the database.
            "temp_store = FILE",
            f"temp_store_directory = '{directory}'",
            f"analysis_limit = {_ANALYSED}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

"""`bluetick schemas show`: the list of records, one schema, or one example."""

from collections.abc import Iterator

from cli.contracts.examples import examples
from cli.contracts.export import as_json, schemas
from cli.problem_sentences import CommandProblem


def lines(record: str | None, *, example: bool) -> Iterator[str]:
    """Yield what the command prints; raises `Problem` if there is no such record."""
    known = {name: one._asdict() for name, one in examples().items()} if example else schemas()
    if record is None:
        yield from known
    elif record in known:
        yield as_json(known[record]).rstrip("\n")
    else:
        raise CommandProblem(
            "unknown_record",
            "there is no record {name!r}; the records are: {known}",
            name=record,
            known=", ".join(known),
        )

"""The rights of a command as commands of Kafka's own tool, and as rows of a table. Pure."""

from collections.abc import Iterable, Iterator

from schemas.rights import CLUSTER, Operation, Resource, Right

Grouped = tuple[Resource, bool, tuple[Operation, ...], list[str]]
"""Kind of resource, whether the names are prefixes, the operations, and the names."""


def grouped(needed: Iterable[Right]) -> list[Grouped]:
    """Return the rights by kind and operations, in order."""
    operations: dict[tuple[Resource, str, bool], list[Operation]] = {}
    for right in needed:
        place = (right.resource, right.name, right.prefixed)
        operations.setdefault(place, []).append(right.operation)
    groups: dict[tuple[Resource, bool, tuple[Operation, ...]], list[str]] = {}
    for (resource, name, prefixed), of in operations.items():
        groups.setdefault((resource, prefixed, tuple(sorted(of))), []).append(name)
    return [(*group, names) for group, names in groups.items()]


def kafka_acls(needed: Iterable[Right], principal: str, bootstrap: str) -> Iterator[str]:
    """Yield the command lines that grant the rights, for a shell."""
    for resource, prefixed, operations, names in grouped(needed):
        on = [f"--{resource} {name}" if resource != "cluster" else "--cluster" for name in names]
        yield " ".join(
            [
                f"kafka-acls.sh --bootstrap-server {bootstrap} --command-config client.properties",
                f"--add --allow-principal '{principal}'",
                *(f"--operation {one}" for one in operations),
                *on,
                *(["--resource-pattern-type prefixed"] if prefixed else []),
            ]
        )


def rows(needed: Iterable[Right]) -> Iterator[tuple[str, str, str]]:
    """Yield kind, names and operations of the rights, for people."""
    for resource, prefixed, operations, names in grouped(needed):
        shown = (f"{name}*" if prefixed else name for name in names if name != CLUSTER)
        yield resource, ", ".join(shown), ", ".join(operations)

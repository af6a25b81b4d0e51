"""Bodies from files and from standard input."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from cli.problem_sentences import CommandProblem
from cli.simulator.requests import JSON, Post, headers_of

STDIN = "-"


def posts_from(
    source: str,
    names: Iterable[str],
    *,
    method: str = "POST",
    path: str = "",
    headers: Iterable[str] = (),
) -> Iterator[Post]:
    """Return a post for each file, in order; for a directory its *.json; `-` is standard input."""
    kept = {**JSON, **headers_of(headers)}
    for name in names:
        for file in _files(name):
            yield Post(source, read_body(file), method.upper(), path, kept)


def read_body(name: str) -> bytes:
    """Return a file's bytes, or those of standard input for `-`; raises `Problem`."""
    if name == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandProblem(
            "body_unreadable",
            "{name} cannot be read: {why}; name a file, or - for standard input",
            name=name,
            why=error.strerror or str(error),
        ) from None


def _files(name: str) -> list[str]:
    if name == STDIN or not Path(name).is_dir():
        return [name]
    found = sorted(str(file) for file in Path(name).glob("*.json"))
    if not found:
        raise CommandProblem(
            "no_bodies",
            "there is no *.json file in the directory {name}; name another directory, or a file",
            name=name,
        )
    return found

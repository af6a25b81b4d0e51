"""Reading the sources file and the secrets it names, once at the start."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ingest.accept_webhook import SOURCES, Source
from ingest.sources.config import Declared, Reading, SecretPlace, read, source
from ingest.sources.mistakes import Finding
from ingest.sources.proofs.kinds import KINDS
from schemas.accounts import Patterns
from service.errors import Problem

_LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Senders:
    """The sources by name, and their declarations if there is a sources file."""

    sources: Mapping[str, Source]
    declared: tuple[Declared, ...] = ()


class _Unfit(Exception):
    """A secret is missing or weak; the text ends the sentence about its place."""


def load(path: Path | None) -> Senders:
    """Return the sources of a file, or the built-in ones; `Problem` lists all its mistakes."""
    if path is None:
        return Senders(SOURCES)
    reading = read(_text(path))
    secrets, unfit = _secrets(reading)
    if reading.findings or unfit:
        raise _problem(path, [*reading.findings, *unfit])
    sources = {
        declared.name: source(declared, secrets[declared.name], reading.proxies)
        for declared in reading.declared
    }
    return Senders(MappingProxyType(sources), reading.declared)


def accounts(path: Path) -> Mapping[str, Patterns | None]:
    """Return the accounts of each source of a file, None for all; reads no secret."""
    reading = read(_text(path))
    if reading.findings:
        raise _problem(path, list(reading.findings))
    return {declared.name: declared.accounts for declared in reading.declared}


def secret_variables(path: Path | None) -> frozenset[str]:
    """Return the environment variables of a file's secrets; empty if the file is unreadable."""
    try:
        places = read(_text(path)).places if path else ()
    except Problem:
        return frozenset()
    return frozenset(one.place.name for one in places if one.place.kind == "env")


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Problem("sources_unreadable", file=str(path), why=error.strerror) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        wrong = Finding((), f"line {line} is not UTF-8; save the file as UTF-8")
        raise _problem(path, [wrong]) from None


def _problem(path: Path, findings: list[Finding]) -> Problem:
    found = [{"file": str(path), "text": str(finding)} for finding in findings]
    return Problem("sources_invalid", findings=found)


def _secrets(reading: Reading) -> tuple[dict[str, list[bytes]], list[Finding]]:
    """Read the secrets; returns the valid ones by source, and the mistakes."""
    secrets: dict[str, list[bytes]] = {declared.name: [] for declared in reading.declared}
    findings = []
    for one in reading.places:
        try:
            secrets.setdefault(one.source, []).append(_fit(one))
        except _Unfit as unfit:
            findings.append(Finding(one.keys, f"the secret in {one.place} {unfit}"))
    return secrets, findings


def _fit(one: SecretPlace) -> bytes:
    place = one.place
    secret = _from_environment(place.name) if place.kind == "env" else _from_file(Path(place.name))
    if wrong := KINDS[one.auth].weakness(secret):
        raise _Unfit(f'{wrong}, no good for auth = "{one.auth}"; put another one there')
    return secret


def _from_environment(name: str) -> bytes:
    if name not in os.environ:
        raise _Unfit("is not there: the environment has no such variable; set it")
    return os.fsencode(os.environ[name])


def _from_file(path: Path) -> bytes:
    """Return the contents of a file without the line end that editors add."""
    if path.exists() and not path.is_file():
        raise _Unfit("is not in a file; name one that holds the secret and nothing else")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise _Unfit(f"cannot be read: {error.strerror}; name a file that can be") from None
    if len(content) > _LARGEST:
        raise _Unfit(f"is longer than {_LARGEST} bytes; name a file that holds nothing else")
    return re.sub(rb"\r?\n\Z", b"", content)

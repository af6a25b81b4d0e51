"""Reading the secrets of a sources file: from files and the environment, valid and invalid."""

import os
from pathlib import Path

import pytest

from ingest.accept_webhook import SOURCES, Source
from ingest.sources.loader import load
from ingest.sources.proofs.contract import Request
from service.errors import Problem

_SECRET = b"0123456789abcdef"


def _proves(file: Path, given: bytes) -> bool:
    return _accepts(load(file).sources["a"], given)


def _accepts(source: Source, given: bytes) -> bool:
    request = Request("POST", "a", "", [(b"x-token", given)])
    return source.proof.check(request, source.secrets, ()) is not None


def _file(folder: Path, place: str) -> Path:
    file = folder / "sources.toml"
    table = '[sources.a]\nprovider = "whapi"\nauth = "header"\nheader = "X-Token"\n'
    file.write_text(f'{table}secrets = ["{place}"]\n')
    return file


def test_without_a_file_providers_are_sources() -> None:
    """The built-in sources only."""
    assert load(None).sources == SOURCES


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_line_end_of_a_file_is_dropped(tmp_path: Path, end: bytes) -> None:
    """Editors add it; it is not part of the secret."""
    (tmp_path / "secret").write_bytes(_SECRET + end)
    file = _file(tmp_path, f"file:{tmp_path}/secret")
    assert _proves(file, _SECRET)
    assert not _proves(file, _SECRET[:-1])


def test_a_secret_of_the_environment_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later change of the variable has no effect."""
    monkeypatch.setenv("TEST_SOURCES", _SECRET.decode())
    sources = load(_file(tmp_path, "env:TEST_SOURCES")).sources
    monkeypatch.setenv("TEST_SOURCES", "x" * 16)
    assert _accepts(sources["a"], _SECRET)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (_SECRET + b"\n\n", "has other than printable ASCII"),
        (b" " + _SECRET, "has other than printable ASCII in it, or spaces around it"),
        (b"0123456789abcde", "is shorter than 16 bytes"),
        (b"x" * 4097, "is longer than 4096 bytes"),
    ],
)
def test_a_bad_secret_is_reported_by_its_place_only(
    tmp_path: Path, content: bytes, wrong: str
) -> None:
    """The sentence has the key path and the file's name, and no contents."""
    (tmp_path / "secret").write_bytes(content)
    file = _file(tmp_path, f"file:{tmp_path}/secret")
    with pytest.raises(Problem) as problem:
        load(file)
    assert f"{file}: sources.a.secrets[0]: the secret in file:{tmp_path}/secret {wrong}" in str(
        problem.value
    )
    assert "0123456789" not in str(problem.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Only a regular file is read; a pipe could block the start of ingest."""
    os.mkfifo(tmp_path / "secret")
    with pytest.raises(Problem, match="is not in a file"):
        load(_file(tmp_path, f"file:{tmp_path}/secret"))

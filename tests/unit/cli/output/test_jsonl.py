"""The paths to which dead letters can be exported."""

from pathlib import Path

import pytest

from cli.output.jsonl import opened
from service.errors import Problem


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("there", "exists already; name another file"),
        ("there/below", "cannot be written: Not a directory; choose another place"),
        ("nowhere/file", "cannot be written: No such file or directory"),
        ("x" * 300, "cannot be written: File name too long; choose another place"),
    ],
)
def test_paths_that_cannot_be_written(tmp_path: Path, name: str, said: str) -> None:
    """One sentence, and nothing is changed."""
    (tmp_path / "there").write_text("before")

    with pytest.raises(Problem, match=said), opened(tmp_path / name, "all.jsonl"):
        pass

    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]

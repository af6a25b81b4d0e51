"""Directories for personal data: made private, tightened, and what is not ours left as it is."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.spool.slots import acquire
from processors.tracking.state_store import Store
from service import private_files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(autouse=True)
def _usual_mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_directory_and_those_above_it_are_made_private(tmp_path: Path) -> None:
    """Not those that were there: others may use them."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    private_files.directory(shared / "a/b")
    assert [mode(path) for path in (shared, shared / "a", shared / "a/b")] == [0o755, 0o700, 0o700]


def test_a_directory_that_is_there_is_tightened(tmp_path: Path) -> None:
    """With `tighten` all that is in it as well; what its owner may do stays."""
    below = tmp_path / "a/b"
    below.mkdir(parents=True, mode=0o755)
    (below / "file").touch(mode=0o640)
    (below / "program").touch(mode=0o555)
    private_files.directory(tmp_path / "a")
    assert (mode(tmp_path / "a"), mode(below)) == (0o700, 0o755)
    private_files.tighten(tmp_path / "a")
    assert [mode(path) for path in (below, below / "file", below / "program")] == [
        0o700,
        0o600,
        0o500,
    ]


def test_what_a_link_names_is_left_alone(tmp_path: Path) -> None:
    """It lies elsewhere, and another program may need it as it is."""
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "file").touch(mode=0o644)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/elsewhere").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a/file").symlink_to(tmp_path / "file")
    (tmp_path / "a/nothing").symlink_to(tmp_path / "nothing")
    private_files.tighten(tmp_path / "a")
    assert (mode(tmp_path / "elsewhere"), mode(tmp_path / "file")) == (0o755, 0o644)


def test_what_another_user_owns_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel would refuse it, and that would end a service that can work."""
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    private_files.directory(tmp_path)
    assert mode(tmp_path) == 0o755


def test_what_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    """Files disappear while a directory is gone through."""
    private_files.tighten(tmp_path / "nothing")


def test_with_the_mask_a_store_is_private(tmp_path: Path) -> None:
    """RocksDB's own files, too; a store from before is tightened when it is opened."""
    fill = f"""
from pathlib import Path
from processors.tracking.state_store import Anchor, Store
from service import private_files
private_files.mask()
store = Store(Path({str(tmp_path)!r}) / "data/store", "messages[0]")
store.write({{b"a": b"b"}}, Anchor(1, 2))
store.close()
"""
    subprocess.run([sys.executable, "-c", fill], check=True, timeout=60)
    found = list((tmp_path / "data").rglob("*"))
    assert len(found) > 4
    assert [path for path in (tmp_path / "data", *found) if mode(path) & 0o077] == []

    (tmp_path / "data/store").chmod(0o755)
    Store(tmp_path / "data/store", "messages[0]").close()
    assert mode(tmp_path / "data/store") == 0o700


def test_a_place_of_the_spool_from_before_is_tightened(tmp_path: Path) -> None:
    """With the bodies in it."""
    (tmp_path / "spool/0").mkdir(parents=True, mode=0o755)
    (tmp_path / "spool/0/spool.db").touch(mode=0o644)
    acquire(tmp_path / "spool").release()
    assert (mode(tmp_path / "spool/0"), mode(tmp_path / "spool/0/spool.db")) == (0o700, 0o600)

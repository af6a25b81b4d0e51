"""Directories for personal data: created private, tightened, and other users' unchanged."""

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


def test_a_directory_and_its_missing_parents_are_private(tmp_path: Path) -> None:
    """Existing parents are not changed: others may use them."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    private_files.directory(shared / "a/b")
    assert [mode(path) for path in (shared, shared / "a", shared / "a/b")] == [0o755, 0o700, 0o700]


def test_an_existing_directory_is_tightened(tmp_path: Path) -> None:
    """`tighten` changes its contents too; the owner's permissions stay."""
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


def test_the_target_of_a_link_is_not_changed(tmp_path: Path) -> None:
    """Another program may need the target's permissions."""
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "file").touch(mode=0o644)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/elsewhere").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a/file").symlink_to(tmp_path / "file")
    (tmp_path / "a/nothing").symlink_to(tmp_path / "nothing")
    private_files.tighten(tmp_path / "a")
    assert (mode(tmp_path / "elsewhere"), mode(tmp_path / "file")) == (0o755, 0o644)


def test_a_file_of_another_user_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel would refuse the change, and that would end a service without need."""
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    private_files.directory(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    """Files can disappear while a directory is read."""
    private_files.tighten(tmp_path / "nothing")


def test_with_the_mask_a_store_is_private(tmp_path: Path) -> None:
    """RocksDB's own files, too; an older store is tightened when it is opened."""
    fill = f"""
from pathlib import Path
from processors.runtime.exactly_once.partition_store import Anchor
from processors.tracking.state_store import Store
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


def test_an_older_spool_slot_is_tightened(tmp_path: Path) -> None:
    """Its files with bodies are tightened too."""
    (tmp_path / "spool/0").mkdir(parents=True, mode=0o755)
    (tmp_path / "spool/0/spool.db").touch(mode=0o644)
    acquire(tmp_path / "spool").release()
    assert (mode(tmp_path / "spool/0"), mode(tmp_path / "spool/0/spool.db")) == (0o700, 0o600)

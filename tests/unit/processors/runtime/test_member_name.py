"""The name of a tracker in its data directory: it is permanent, and locked by one process."""

import subprocess
import sys
from pathlib import Path

import pytest

from processors.runtime.member_name import Identity, stored
from service.errors import Problem

_HOLD = """
import sys, time
from pathlib import Path
from processors.runtime.member_name import Identity
print(Identity(Path(sys.argv[1])).name, flush=True)
time.sleep(600)
"""


def test_a_name_is_permanent(tmp_path: Path) -> None:
    first = Identity(tmp_path / "track")
    first.close()
    again = Identity(tmp_path / "track")
    assert again.name == first.name
    assert (tmp_path / "track/instance-0").stat().st_mode & 0o777 == 0o600


def test_two_processes_in_one_directory_have_two_permanent_names(tmp_path: Path) -> None:
    first, second = Identity(tmp_path), Identity(tmp_path)
    assert first.name != second.name
    first.close()
    third = Identity(tmp_path)
    assert third.name == first.name
    assert sorted(one.name for one in tmp_path.iterdir()) == ["instance-0", "instance-1"]


def test_a_killed_process_releases_its_name(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        other = Identity(tmp_path)
        assert other.name != name
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    assert Identity(tmp_path).name == name


@pytest.mark.parametrize("damaged", [b"", b"\xff\x00", b"track-short\n", b"x" * 4000])
def test_a_damaged_name_is_replaced(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "instance-0").write_bytes(damaged)
    first = Identity(tmp_path)
    first.close()
    assert Identity(tmp_path).name == first.name


def test_another_directory_has_another_name(tmp_path: Path) -> None:
    assert Identity(tmp_path / "a").name != Identity(tmp_path / "b").name


def test_an_unusable_directory_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        Problem, match=r"the worker's name cannot be stored in .*file/track .*BLUETICK_DATA"
    ):
        Identity(tmp_path / "file/track")


def test_stored_partitions_are_the_numbered_directories(tmp_path: Path) -> None:
    for name in ("3", "0", "instance-0", "x"):
        (tmp_path / name).mkdir()
    assert stored(tmp_path) == [0, 3]
    assert stored(tmp_path / "nothing") == []

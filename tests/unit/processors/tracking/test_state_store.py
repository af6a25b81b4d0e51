"""The tracker's store: RocksDB on disk, with every kind of damage."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from processors.runtime.exactly_once.partition_store import Anchor, CorruptError
from processors.tracking.standing import Standing
from processors.tracking.state_store import Store
from service.errors import Problem

ANCHOR = Anchor(offset=41, timestamp=1_760_000_000_000)
RANDOM = Random(1)
STATES: dict[bytes, bytes | None] = {
    f"a/-/{n}".encode(): RANDOM.randbytes(200) for n in range(2000)
}
SEVEN = STATES[b"a/-/7"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the directory of a closed store with 2 000 states."""
    store = Store(tmp_path / "store", "messages[0]")
    store.write(STATES, ANCHOR)
    store.close()
    return tmp_path / "store"


def test_states_and_anchor_survive(directory: Path) -> None:
    """After reopening, the written states exist, and no others."""
    store = Store(directory, "messages[0]")

    assert store.anchor == ANCHOR
    assert store.get(["a/-/7", "a/-/none"]) == [SEVEN, None]
    store.close()


def test_a_deleted_state_is_gone(directory: Path) -> None:
    """A tombstone removes the state; without a new anchor, the anchor stays."""
    store = Store(directory, "messages[0]")

    store.write({b"a/-/7": None}, None)

    assert store.get(["a/-/7"]) == [None]
    assert store.anchor == ANCHOR
    store.close()


def test_nothing_goes_to_a_write_ahead_log(tmp_path: Path) -> None:
    """The changelog is the log: RocksDB's own stays empty."""
    store = Store(tmp_path / "store", "messages[0]")

    store.write(STATES, ANCHOR)

    assert [file.stat().st_size for file in (tmp_path / "store").glob("*.log")] == [0]
    store.close()


def test_the_store_of_another_partition_is_emptied(directory: Path) -> None:
    """A manifest that does not match means nothing in it can be used."""
    store = Store(directory, "messages[1]")

    assert store.anchor is None
    assert store.get(["a/-/7"]) == [None]
    store.close()


def test_damage_to_the_first_block_is_emptied(directory: Path) -> None:
    """If not even the manifest can be read, the store is emptied."""
    for file in directory.glob("*.sst"):
        file.write_bytes(bytes(100) + file.read_bytes()[100:])

    store = Store(directory, "messages[0]")

    assert store.anchor is None
    store.close()


def test_a_damaged_manifest_is_emptied(directory: Path) -> None:
    """RocksDB cannot open the store, which is emptied."""
    for file in directory.glob("MANIFEST-*"):
        file.write_bytes(file.read_bytes()[:10])

    store = Store(directory, "messages[0]")

    assert store.anchor is None
    store.close()


def test_damage_found_by_a_read_is_fixed_by_a_wipe(directory: Path) -> None:
    """Reading a damaged block raises CorruptError; after a wipe the store works."""
    for file in directory.glob("*.sst"):
        data = bytearray(file.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 100] = bytes(100)
        file.write_bytes(data)
    store = Store(directory, "messages[0]")

    with pytest.raises(CorruptError):
        store.get([key.decode() for key in STATES])
    store.wipe()

    assert store.anchor is None
    store.write(STATES, ANCHOR)
    assert store.get(["a/-/7"]) == [SEVEN]
    store.close()


def test_a_store_open_in_this_process_is_in_use(directory: Path) -> None:
    """RocksDB has a separate error for that."""
    store = Store(directory, "messages[0]")
    with pytest.raises(Problem, match="open in another process"):
        Store(directory, "messages[0]")
    store.close()


def test_a_lock_that_cannot_be_created_is_not_a_held_lock(tmp_path: Path) -> None:
    """The error names the lock file, but is another error."""
    (tmp_path / "LOCK").mkdir()
    with pytest.raises(Problem, match=r"cannot be used \(IO error.*LOCK: Is a directory") as raised:
        Store(tmp_path, "messages[0]")
    assert "another process" not in str(raised.value)


def test_a_full_disk_is_not_a_held_lock(tmp_path: Path) -> None:
    """Not even if the path contains the word: RocksDB's errors name the path."""
    fill = f"""
import resource
from pathlib import Path
from processors.runtime.exactly_once.partition_store import Anchor
from processors.tracking.state_store import Store
store = Store(Path({str(tmp_path)!r}) / "While lock file/blockstore", "messages[0]")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    for number in range(100):
        store.write({{str(number).encode(): bytes(2**20)}}, Anchor(number, 0))
except Exception as error:
    print(type(error).__name__, error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", fill], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Problem the store " in ended.stdout, ended
    assert "cannot be used (IO error: " in ended.stdout
    assert "File too large" in ended.stdout
    assert "another process" not in ended.stdout


def test_a_store_in_use_is_not_changed(directory: Path) -> None:
    """If another process has it open, a Problem is raised, and no file is changed."""
    hold = f"""
import sys
from pathlib import Path
from processors.tracking.state_store import Store
store = Store(Path({str(directory)!r}), "messages[0]")
print("open", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"open\n"
        before = {file.name for file in directory.iterdir()}

        with pytest.raises(Problem, match="open in another process"):
            Store(directory, "messages[0]")

        assert before <= {file.name for file in directory.iterdir()}
        holder.communicate()
    store = Store(directory, "messages[0]")
    assert store.anchor == ANCHOR
    store.close()


COUNTED: dict[bytes, bytes | None] = {
    b"smsmanager/-/a": b"{}",
    b"smsmanager/-/b": b"{}",
    b"viewer/v/smsmanager/-/a": b"{}",
    b"whapi/C/a": b"{}",
}
COUNTS = {Standing("smsmanager"): 2, Standing("whapi"): 1}


def counted(store: Store) -> Counter[Standing] | None:
    for _ in store.count():
        pass
    return store.counts


def test_the_counts_are_kept_with_the_states(tmp_path: Path) -> None:
    """Each write changes both, and a later process need not count."""
    store = Store(tmp_path, "messages[0]")
    assert store.counts is None
    assert counted(store) == {}
    store.write(COUNTED, ANCHOR, difference=store.change_from(COUNTED))
    gone: dict[bytes, bytes | None] = {b"whapi/C/a": None, b"smsmanager/-/a": b"{} "}
    store.write(gone, None, difference=store.change_from(gone))
    store.close()

    again = Store(tmp_path, "messages[0]")
    assert again.counts is not None
    assert +again.counts == {Standing("smsmanager"): 2}
    assert counted(again) == {Standing("smsmanager"): 2}
    again.close()


def test_an_earlier_version_that_moves_the_anchor_makes_the_counts_void(tmp_path: Path) -> None:
    """It knows no counts: the messages are counted again, and then kept."""
    store = Store(tmp_path, "messages[0]")
    counted(store)
    store.counts = None  # as in an earlier version, which writes no counts
    store.write(COUNTED, ANCHOR)
    store.close()

    for known in (None, COUNTS):
        again = Store(tmp_path, "messages[0]")
        assert again.counts == known
        assert counted(again) == COUNTS
        again.close()


def test_a_wiped_store_has_no_counts(tmp_path: Path) -> None:
    """They are counted from the restored states."""
    store = Store(tmp_path, "messages[0]")
    counted(store)
    store.write(COUNTED, ANCHOR, difference=store.change_from(COUNTED))
    store.wipe()
    assert store.counts is None
    assert counted(store) == {}
    store.close()

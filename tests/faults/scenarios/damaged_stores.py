"""Scenarios in which a tracker's store is damaged, missing or outdated."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults.scenario import scenario
from tests.faults.trial import Trial

_SLOT = "one"


def _flip(random: Random, store: Path, _: Path) -> None:
    """Flip one bit somewhere in a table of states."""
    with _table(random, store).open("r+b") as file:
        at = random.randrange(file.seek(0, 2))
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << random.randrange(8)]))


def _flip_index(random: Random, store: Path, _: Path) -> None:
    """Flip one bit of RocksDB's own list of files."""
    file = random.choice(sorted(store.glob("MANIFEST-*")))
    content = bytearray(file.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    file.write_bytes(content)


def _truncate(random: Random, store: Path, _: Path) -> None:
    """Truncate one of the files that RocksDB needs."""
    files = sorted(f for f in store.iterdir() if f.name.startswith(("MANIFEST", "CURRENT")))
    file = random.choice([*files, *sorted(store.glob("*.sst"))])
    file.write_bytes(file.read_bytes()[: random.randrange(file.stat().st_size)])


def _lose_file(random: Random, store: Path, _: Path) -> None:
    """Delete one table of states."""
    _table(random, store).unlink()


def _lose_current(_: Random, store: Path, __: Path) -> None:
    """Delete the file that names the valid list of files."""
    (store / "CURRENT").unlink()


def _lose(_: Random, store: Path, __: Path) -> None:
    """Delete the whole directory."""
    shutil.rmtree(store)


def _return(_: Random, store: Path, stale: Path) -> None:
    """Replace the store with an earlier copy."""
    shutil.rmtree(store)
    shutil.copytree(stale, store)


def _swap(random: Random, store: Path, _: Path) -> None:
    """Replace the store with that of another partition."""
    others = [other for other in _stores_in(store.parent) if other != store]
    shutil.rmtree(store)
    shutil.copytree(random.choice(others), store)


_DAMAGES: tuple[Callable[[Random, Path, Path], None], ...] = (
    _flip,
    _flip_index,
    _truncate,
    _lose_file,
    _lose_current,
    _lose,
    _return,
    _swap,
)


def _table(random: Random, store: Path) -> Path:
    return random.choice(sorted(store.glob("*.sst")))


@scenario("stores", {"damages": len(_DAMAGES)}, repeats=False)
async def stores(trial: Trial) -> None:
    """Damage the stores of a stopped tracker in each of these ways: it rebuilds them."""
    await trial.start("normalise")
    home = trial.home / _SLOT / "state" / trial.settings.namespace / "track"
    stale = trial.home / "stale"
    worker = await trial.start("track", slot=_SLOT)
    await trial.published(300)
    await worker.stop()
    shutil.copytree(home, stale)
    for damage in trial.random.sample(_DAMAGES, len(_DAMAGES)):
        worker = await trial.start("track", slot=_SLOT)
        await trial.published(300)
        await worker.stop()
        for store in _stores_in(home):
            damage(trial.random, store, stale / store.name)
        trial.did["damages"] += 1
    await trial.start("track", slot=_SLOT)


def _stores_in(home: Path) -> list[Path]:
    """Return the stores of a tracker's partitions; the directory also holds other files."""
    return sorted(home.glob("[0-9]*"))

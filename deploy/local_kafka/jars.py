"""Kafka's jars in a cache: downloaded once, and verified against a list at every start."""

import asyncio
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from service.errors import Problem, reason

VERSION = "4.3.1"
# slf4j-simple, not slf4j-nop: with nop a broker that cannot start logs no reason.
COORDINATES = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
LIST = Path(__file__).with_name("jars.sha256")
_PROGRESS_SECONDS = 1.0


def cache_directory() -> Path:
    """Return Bluetick's directory in the user's cache (XDG Base Directory)."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (named if named.is_absolute() else Path.home() / ".cache") / "bluetick"
    except RuntimeError:
        raise Problem("no_cache_directory") from None


def parse_list(text: str) -> dict[str, str]:
    """Return {name: hex} from lines of `sha256sum`, `<hex>  <name>`."""
    return {name: digest for digest, name in (line.split() for line in text.splitlines())}


def difference(found: Mapping[str, str], listed: Mapping[str, str]) -> str | None:
    """Return how {name: SHA-256} differs from the list, for the first such file; None if equal."""
    for name in sorted(found.keys() | listed.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in listed:
            return f"{name} is not on the list"
        if found[name] != listed[name]:
            return f"{name} has another SHA-256 than listed"
    return None


def verify(directory: Path, listed: Mapping[str, str]) -> None:
    """Raise Problem unless `directory` holds exactly the listed jars.

    Every byte is hashed at every start, which takes 0.2 s for 44 MB. So there is no record of an
    earlier check that could be out of date.
    """
    found = {path.name: _sha256(path) for path in directory.iterdir()}
    if wrong := difference(found, listed):
        raise Problem("jars_differ", directory=str(directory), list=LIST.name, why=wrong)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def kafka_jars(cache: Path, progress: Callable[[str], None]) -> list[Path]:
    """Return the verified jars in `cache`; download them if they are missing."""
    text = LIST.read_text()
    listed = parse_list(text)
    # A new list has a new directory, so an old cache is not reported as damaged.
    directory = cache / f"kafka-{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not directory.is_dir():
        await _fill(directory, listed, progress)
    await asyncio.to_thread(verify, directory, listed)
    return [directory / name for name in sorted(listed)]


async def _fill(
    directory: Path, listed: Mapping[str, str], progress: Callable[[str], None]
) -> None:
    """Download in a thread and report the growth of the files, because jgo reports no progress."""
    staging = _staging(directory.parent)
    stop = threading.Event()
    work = asyncio.create_task(asyncio.to_thread(_fetch, staging, directory, listed, stop))
    try:
        while not (await asyncio.wait({work}, timeout=_PROGRESS_SECONDS))[0]:
            progress(f"fetching Kafka {VERSION}: {_so_far(Path(staging.name), len(listed))}")
        work.result()
    finally:
        stop.set()


def _staging(cache: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".fetching-", dir=cache)
    except OSError as error:
        raise Problem("cache_not_writable", directory=str(cache), why=error.strerror) from None


def _so_far(staging: Path, total: int) -> str:
    """Return the progress: first the package descriptions are downloaded, then the jars."""
    # os.walk skips what disappears meanwhile: the thread moves files and removes directories.
    files = [Path(at, name) for at, _, names in os.walk(staging) for name in names]
    jars = [_size(path) for path in files if path.suffix == ".jar"]
    if jars:
        return f"{len(jars)} of {total} jars, {sum(jars) / 1e6:.1f} MB"
    return f"reading package descriptions ({sum(path.suffix == '.pom' for path in files)} files)"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # moved since it was listed
        return 0


def _fetch(
    staging: tempfile.TemporaryDirectory[str],
    directory: Path,
    listed: Mapping[str, str],
    stop: threading.Event,
) -> None:
    """Download into `staging`, verify, then move the jars to `directory` atomically."""
    try:
        from deploy.local_kafka.maven import Cancelled, fetch  # noqa: PLC0415 (the extra "local" is optional)
    except ImportError:
        raise Problem("jgo_missing", version=VERSION) from None
    with staging as name:
        jars = Path(name) / "jars"
        jars.mkdir()
        try:
            for path in fetch(COORDINATES, Path(name) / "repository", stop):
                path.rename(jars / path.name)
        except Cancelled:
            return
        except Exception as error:  # jgo's parsers raise any exception for a bad answer
            raise Problem(
                "kafka_not_fetched",
                version=VERSION,
                why=_reason(error),
                directory=str(directory.parent),
            ) from error
        verify(jars, listed)
        _publish(jars, directory)


def _reason(error: BaseException) -> str:
    """Return the innermost cause: requests and urllib3 wrap it several times."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return reason(error)


def _publish(jars: Path, directory: Path) -> None:
    try:
        jars.rename(directory)
    except OSError:
        if not directory.is_dir():  # else another process moved the same jars first
            raise

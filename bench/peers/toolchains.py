"""Builds the peers into the user's cache, each once per version of its files."""

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from deploy.local_kafka.jars import cache_directory

HERE = Path(__file__).parent
_BUILD_SECONDS = 900
_LINES = 3
_GO_HOMES = ("/usr/local/go/bin", "/usr/lib/go/bin")
_VEGETA = "github.com/tsenart/vegeta/v12"

Log = Callable[[str], None]
Build = Callable[[Path], Awaitable[None]]


class AbsentError(Exception):
    """A peer that cannot be built here; the text says why."""


async def python(log: Log) -> Path:
    """Return the Python of an environment with the packages of requirements.txt."""
    lock = HERE / "requirements.txt"

    async def build(into: Path) -> None:
        await _run([sys.executable, "-m", "venv", str(into / "venv")], into)
        pip = [str(into / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check"]
        given = ["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r"]
        await _run([*pip, *given, str(lock)], into)

    return await _built("python", [lock], build, log) / "venv/bin/python"


async def kafka_streams(log: Log) -> Path:
    """Return a directory with `lib` and `target/classes`."""
    maven = _tool("mvn")
    _tool("javac")
    _tool("java")
    source = HERE / "kafka_streams"

    async def build(into: Path) -> None:
        shutil.copytree(source, into, dirs_exist_ok=True)
        goals = ["compile", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
        await _run([maven, "-q", "-B", *goals], into)

    return await _built("kafka-streams", sorted(source.rglob("*.*")), build, log)


async def go(log: Log) -> Path:
    """Return a directory with the programs `ingest` (the peer) and `vegeta` (the load)."""
    compiler = _tool("go", *_GO_HOMES)
    source = HERE / "go"

    async def build(into: Path) -> None:
        shutil.copytree(source, into, dirs_exist_ok=True)
        for program, package in (("ingest", "."), ("vegeta", _VEGETA)):
            await _run([compiler, "build", "-mod=readonly", "-o", program, package], into)

    return await _built("go", sorted(source.rglob("*.*")), build, log)


def wrk() -> str:
    """Return the load generator wrk, Debian's package of that name."""
    return _tool("wrk")


def _tool(name: str, *homes: str) -> str:
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *homes)))
    if found is None:
        raise AbsentError(f"the command {name} is not installed")
    return found


async def _built(name: str, files: Sequence[Path], build: Build, log: Log) -> Path:
    """Build into a directory named after the content of files, unless it is there."""
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    into = cache_directory() / "peers" / f"{name}-{digest.hexdigest()[:16]}"
    done = into / "built"
    if not done.exists():
        log(f"building {name}, once")
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        await build(into)
        done.touch()
    return into


async def _run(command: Sequence[str], directory: Path) -> None:
    """Run a step of a build; raise with the end of its output if it fails."""
    running = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(running.communicate(), _BUILD_SECONDS)
    except TimeoutError:
        running.kill()
        await running.wait()
        raise AbsentError(f"{Path(command[0]).name} took over {_BUILD_SECONDS} s") from None
    if running.returncode:
        last = " ".join(output.decode(errors="replace").splitlines()[:_LINES])
        raise AbsentError(f"{Path(command[0]).name} failed: {last}")

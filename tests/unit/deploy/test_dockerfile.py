"""deploy/Dockerfile: rules of hadolint's kind, and hadolint itself where it is installed."""

import re
import shutil
import subprocess
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests import HOME

FILE = HOME / "deploy" / "Dockerfile"
TEXT = FILE.read_text()


def _instructions() -> list[tuple[str, str]]:
    """Return instruction and arguments, with continued lines joined and comments removed."""
    kept = "\n".join(line for line in TEXT.splitlines() if not re.match(r"\s*#", line))
    joined = re.sub(r"\\\n\s*", "", kept)
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line]


INSTRUCTIONS = _instructions()


def _of(instruction: str) -> list[str]:
    return [arguments for name, arguments in INSTRUCTIONS if name == instruction]


def test_the_base_has_a_version() -> None:
    """It is one image for both stages, by a tag with the versions of Python and of Debian."""
    assert re.fullmatch(r"PYTHON=python:3\.1[1-4]-slim-[a-z]+", _of("ARG")[0])
    assert _of("FROM") == ["${PYTHON} AS build", "${PYTHON}"]


def test_packages_come_from_the_lock() -> None:
    """Every installation checks hashes, or installs the wheel that was just built."""
    installs = [part for run in _of("RUN") for part in run.split("&&") if "pip" in part.split()[0]]
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install, install
    assert "requirements-service.txt" in _of("ARG")[1]


def test_the_build_installs_all_that_hatchling_needs() -> None:
    """The packages that it takes from the lock are hatchling and its requirements, all of them."""
    listed = re.search(r"\\\((.*)\\\)==", TEXT)
    assert listed
    needed, waiting = set[str](), ["hatchling"]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        found = map(Requirement, metadata.requires(name) or ())
        waiting += [one.name for one in found if one.marker is None or one.marker.evaluate()]
        waiting = [one for one in waiting if one not in needed]
    assert set(listed[1].split("\\|")) == needed


def test_the_user_is_a_number_and_not_root() -> None:
    """Kubernetes checks `runAsNonRoot` by the number. No later instruction changes the user."""
    assert _of("USER") == ["10001:10001"]
    assert [name for name, _ in INSTRUCTIONS][-4:] == [
        "WORKDIR",
        "USER",
        "HEALTHCHECK",
        "ENTRYPOINT",
    ]


def test_probes_are_the_orchestrators() -> None:
    """One image for all services has no single check."""
    assert _of("HEALTHCHECK") == ["NONE"]
    assert _of("ENTRYPOINT") == ['["bluetick"]']
    assert _of("CMD") == []


def test_nothing_is_fetched_but_packages() -> None:
    """No ADD, no download and no system package."""
    assert _of("ADD") == []
    assert not re.search(r"\b(curl|wget|apt-get|sudo)\b", TEXT)


def test_only_state_and_spool_are_writable() -> None:
    """The two directories belong to the user, and no other user reads them."""
    [made] = [run for run in _of("RUN") if "useradd" in run]
    assert (
        "install -d -o bluetick -g bluetick -m 0700 /var/lib/bluetick /var/spool/bluetick" in made
    )
    assert "chown" not in TEXT


def test_the_context_holds_what_the_image_needs() -> None:
    """`.dockerignore` excludes everything, and names the parts of the wheel one by one."""
    ignore = (HOME / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    wheel = re.search(r"wheel\]\ninclude = \[(.*)\]", (HOME / "pyproject.toml").read_text())
    assert wheel
    parts = {part.split("/")[1] for part in re.findall(r'"([^"]+)"', wheel[1])}
    assert "*" in ignore
    assert "deploy/compose" in ignore, "it holds the secrets of compose.yaml"
    others = {"LICENSE", "README.md", "docs", "pyproject.toml", "requirements*.txt"}
    assert kept == parts | others


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")

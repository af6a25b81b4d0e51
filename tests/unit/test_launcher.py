"""The launcher in a checkout of its own, with empty locks: real environments, nothing fetched."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import HOME

PROGRAM = """import os, sys
print([os.getcwd(), os.getpid(), sys.argv[1:], sys.prefix], flush=True)
"""
INSTALLS = "installing into"


class Made(NamedTuple):
    """A checkout below a directory with a space; its .venv was made by one of two launchers."""

    checkout: Path
    told: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    checkout = tmp_path_factory.mktemp("a place") / "blue tick"
    checkout.mkdir()
    shutil.copy(HOME / "bluetick", checkout)
    (checkout / "bluetick.py").write_text(PROGRAM)
    for lock in ("requirements.txt", "requirements-dev.txt"):
        (checkout / lock).write_text("# none\n")
    _cut_short(checkout)
    both = [_start(checkout), _start(checkout)]
    return Made(checkout, [_finish(process)[1] for process in both])


def _start(checkout: Path, *arguments: str, **given: str) -> subprocess.Popen[str]:
    environment: Mapping[str, str] = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, **given}
    return subprocess.Popen(
        [checkout / "bluetick", *arguments],
        cwd=checkout.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _cut_short(checkout: Path) -> str:
    """Start, and end it by a signal as soon as it says that it installs; return how it said so."""
    process = _start(checkout)
    assert process.stderr
    told = process.stderr.readline()
    assert INSTALLS in told
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    return told


def _finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for its end, with 0; return what it wrote to both streams."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out, err


def test_one_of_two_launchers_redoes_what_was_cut_short(made: Made) -> None:
    """Of two at once the second waits, and finds the work done."""
    assert sorted(INSTALLS in told for told in made.told) == [False, True]


def test_it_becomes_python_where_the_caller_is(made: Made) -> None:
    """Python runs in .venv, as the launcher's own process, in the caller's directory, as asked."""
    process = _start(made.checkout, "--flag", "two words", "")
    expected = [
        str(made.checkout.parent),
        process.pid,
        ["--flag", "two words", ""],
        str(made.checkout / ".venv"),
    ]
    assert _finish(process) == (f"{expected}\n", "")


def test_a_chain_of_links_leads_to_the_checkout(made: Made, tmp_path: Path) -> None:
    """It may be linked to from anywhere, by relative links too."""
    (tmp_path / "first").symlink_to(made.checkout / "bluetick")
    (tmp_path / "second").symlink_to("first")
    shown = subprocess.run(["./second"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(made.checkout / ".venv") in shown.stdout


def test_an_interpreter_that_does_not_suit_is_one_sentence(made: Made) -> None:
    """A wrong PYTHON is named, and nothing is installed."""
    process = _start(made.checkout, PYTHON="/nowhere/python")
    told = "bluetick: PYTHON=/nowhere/python is not a Python from 3.11 to 3.14.\n"
    assert process.communicate(timeout=60) == ("", told)
    assert process.returncode == 1


def test_only_tests_get_their_packages_and_once(made: Made) -> None:
    """`bluetick test` adds the second lock to the same .venv; next time it has it."""
    assert "adding what tests need" in _finish(_start(made.checkout, "test"))[1]
    assert _finish(_start(made.checkout, "test"))[1] == ""
    assert _finish(_start(made.checkout, "up"))[1] == ""


def test_a_changed_lock_installs_anew(made: Made) -> None:
    """What was installed for other locks is not used."""
    (made.checkout / "requirements.txt").write_text("# changed\n")
    assert "the locks or Python changed" in _cut_short(made.checkout)

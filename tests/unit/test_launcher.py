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
    output: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    checkout = tmp_path_factory.mktemp("a place") / "blue tick"
    checkout.mkdir()
    shutil.copy(HOME / "bluetick", checkout)
    (checkout / "bluetick.py").write_text(PROGRAM)
    for lock in ("requirements.txt", "requirements-dev.txt"):
        (checkout / lock).write_text("# none\n")
    _interrupted(checkout)
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


def _interrupted(checkout: Path) -> str:
    """Start an installation, and end it by a signal at its first line; return that line."""
    process = _start(checkout)
    assert process.stderr
    line = process.stderr.readline()
    assert INSTALLS in line
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    return line


def _finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for its end with exit code 0; return its standard output and error."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out, err


def test_one_of_two_launchers_repeats_an_interrupted_installation(made: Made) -> None:
    """Of two at once, the second waits and then installs nothing."""
    assert sorted(INSTALLS in text for text in made.output) == [False, True]


def test_it_becomes_python_in_the_directory_of_the_caller(made: Made) -> None:
    """Python runs in .venv, in the launcher's process and the caller's directory."""
    process = _start(made.checkout, "--flag", "two words", "")
    expected = [
        str(made.checkout.parent),
        process.pid,
        ["--flag", "two words", ""],
        str(made.checkout / ".venv"),
    ]
    assert _finish(process) == (f"{expected}\n", "")


def test_a_chain_of_links_leads_to_the_checkout(made: Made, tmp_path: Path) -> None:
    """The launcher can be a symbolic link from anywhere, also a relative one."""
    (tmp_path / "first").symlink_to(made.checkout / "bluetick")
    (tmp_path / "second").symlink_to("first")
    shown = subprocess.run(["./second"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(made.checkout / ".venv") in shown.stdout


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("/nowhere/python", "there is no program /nowhere/python (PYTHON)."),
        ("nopython", "there is no program nopython (PYTHON)."),
        ("false", "PYTHON=false is not a Python from 3.11 to 3.14."),
    ],
)
def test_an_interpreter_that_does_not_suit_is_one_sentence(
    made: Made, python: str, sentence: str
) -> None:
    """A wrong PYTHON is named, and nothing is installed."""
    process = _start(made.checkout, PYTHON=python)
    assert process.communicate(timeout=60) == ("", f"bluetick: {sentence}\n")
    assert process.returncode == 1


def test_only_tests_get_their_packages_and_once(made: Made) -> None:
    """`bluetick test` adds the second lock to the same .venv, once; its help adds nothing."""
    for option in ("--help", "-h"):
        assert _finish(_start(made.checkout, "test", option))[1] == ""
    assert "adding the packages of the tests" in _finish(_start(made.checkout, "test"))[1]
    assert _finish(_start(made.checkout, "test"))[1] == ""
    assert _finish(_start(made.checkout, "up"))[1] == ""


def test_the_completion_of_a_line_installs_nothing(tmp_path: Path) -> None:
    """In a fresh clone, a press of the tabulator key is silent."""
    shutil.copy(HOME / "bluetick", tmp_path)
    for lock in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / lock).write_text("# none\n")
    assert _finish(_start(tmp_path, _BLUETICK_COMPLETE="complete_bash")) == ("", "")
    assert not (tmp_path / ".venv").exists()


def test_a_changed_lock_installs_again(made: Made) -> None:
    """Packages of other locks are not used."""
    (made.checkout / "requirements.txt").write_text("# changed\n")
    assert "the locks or Python changed" in _interrupted(made.checkout)

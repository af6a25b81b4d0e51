"""A problem sent from a process to its parent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import Problem
from service.problem_pipe import ProblemPipe, send
from tests import HOME

SENDS = """
import sys
from service.errors import Problem
from service.problem_pipe import send
send(int(sys.argv[1]), Problem("not_a_time", text="x"), sys.argv[2])
"""


def _child(pipe: ProblemPipe, program: str, *arguments: str) -> None:
    with pipe.handed_over() as descriptor:
        subprocess.run(
            [sys.executable, "-c", program, str(descriptor), *arguments],
            cwd=HOME,
            pass_fds=[descriptor],
            check=True,
        )


@pytest.mark.parametrize("words", ["two\nlines", "bluetick: žluťoučký", "\udcff"])
def test_the_words_arrive_as_they_are(words: str) -> None:
    """Any words, of one line or several; they may be received more than once."""
    pipe = ProblemPipe()
    _child(pipe, SENDS, words)
    pipe.receive()
    pipe.receive()
    assert pipe.words == words.replace("\udcff", "?")


@pytest.mark.parametrize(
    "program", ["", "import os, sys; os.write(int(sys.argv[1]), b'bluetick: x')"]
)
def test_a_child_without_a_problem_has_no_words(program: str) -> None:
    """A child that wrote other bytes has no words either."""
    pipe = ProblemPipe()
    _child(pipe, program)
    pipe.receive()
    assert pipe.words == ""


def test_words_without_end_and_without_a_reader_do_no_harm() -> None:
    """Neither side waits; as much as fits is sent."""
    pipe = ProblemPipe()
    with pipe.handed_over() as descriptor:
        send(descriptor, Problem("odd"), "ž" * 1_000_000)
    pipe.receive()
    assert pipe.words == "ž" * 8192
    reader, writer = os.pipe()
    os.close(reader)
    send(writer, Problem("odd"), "words")
    os.close(writer)


def test_nothing_stays_open_without_a_child() -> None:
    """A child that cannot be started leaves no open descriptor."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    pipe = ProblemPipe()
    with pytest.raises(FileNotFoundError), pipe.handed_over():
        raise FileNotFoundError
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    pipe.receive()
    assert pipe.words == ""

"""The problem that ended a process, as a line of JSON on a pipe to the process that started it."""

import contextlib
import json
import os
from collections.abc import Iterator

from service.errors import Problem

# In UTF-8 this many characters fit into an empty pipe.
_LONGEST = 8192
_PIPE_BYTES = 65536


def send(descriptor: int, problem: Problem, words: str) -> None:
    """Write a problem, without waiting for a reader."""
    line = json.dumps({"code": problem.code, "words": words[:_LONGEST]}, ensure_ascii=False)
    os.set_blocking(descriptor, False)
    with contextlib.suppress(OSError):
        os.write(descriptor, line.encode(errors="replace") + b"\n")


class ProblemPipe:
    """The pipe on which one child process may send the problem that ends it."""

    def __init__(self) -> None:
        self.words = ""
        self._received = False
        self._reader, self._writer = os.pipe()

    @contextlib.contextmanager
    def handed_over(self) -> Iterator[int]:
        """Yield the descriptor for the child; if no child starts, both ends are closed."""
        try:
            yield self._writer
        except BaseException:
            self._close()
            raise
        finally:
            os.close(self._writer)

    def receive(self) -> None:
        """After the child has ended, set `words` to the sentence of its problem, if it sent one."""
        if self._received:
            return
        os.set_blocking(self._reader, False)
        with contextlib.suppress(BlockingIOError, ValueError, TypeError, KeyError):
            self.words = str(json.loads(os.read(self._reader, _PIPE_BYTES))["words"])
        self._close()

    def _close(self) -> None:
        self._received = True
        os.close(self._reader)

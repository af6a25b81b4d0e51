"""Failpoints: the process is killed or stopped exactly at its failpoint."""

import os
import signal
import subprocess
import sys

import pytest

from processors.runtime import failpoints
from service.errors import Problem

POINT = "track.before_begin"


def reaching(setting: str, times: int) -> "subprocess.Popen[str]":
    """Start a process that passes a point `times` times, prints each time, and ends."""
    code = f"""
from processors.runtime import failpoints
failpoints.arm({setting!r})
for number in range({times}):
    print(number, flush=True)
    failpoints.reach({POINT!r})
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("setting", "printed", "code"),
    [
        (f"{POINT}=kill", "0\n", -signal.SIGKILL),
        (f"{POINT}=kill@2", "0\n1\n", -signal.SIGKILL),
        (f"{POINT}=kill@9", "0\n1\n2\n", 0),
        ("track.after_commit=kill", "0\n1\n2\n", 0),
        ("", "0\n1\n2\n", 0),
    ],
)
def test_the_process_is_killed_at_its_failpoint(setting: str, printed: str, code: int) -> None:
    """SIGKILL is sent when the point is reached for the n-th time, and at no other point."""
    with reaching(setting, 3) as process:
        output, _ = process.communicate()
    assert (output, process.returncode) == (printed, code)


def test_the_process_is_stopped_until_it_is_continued() -> None:
    """A stopped process does nothing; once continued, it does not stop a second time."""
    with reaching(f"{POINT}=stop", 2) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate()
    assert (output, process.returncode) == ("0\n1\n", 0)


@pytest.mark.parametrize(
    "setting", ["x", "track.nowhere=kill", f"{POINT}=explode", f"{POINT}=kill@0", f"{POINT}=kill@"]
)
def test_an_invalid_failpoint_is_refused(setting: str) -> None:
    """A misspelt point is never reached, and its test would pass."""
    with pytest.raises(Problem, match="BLUETICK_FAILPOINT"):
        failpoints.arm(setting)

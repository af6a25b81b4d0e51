"""Failpoints: the process dies or stands still at the very time it was told to."""

import os
import signal
import subprocess
import sys

import pytest

from processors.runtime import failpoints
from service.errors import Problem

POINT = "track.before_begin"


def reaching(setting: str, times: int) -> "subprocess.Popen[str]":
    """A process that passes a point so often, says so each time, and ends."""
    code = f"""
from processors.runtime import failpoints
failpoints.arm({setting!r})
for number in range({times}):
    print(number, flush=True)
    failpoints.reach({POINT!r})
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("setting", "said", "code"),
    [
        (f"{POINT}=kill", "0\n", -signal.SIGKILL),
        (f"{POINT}=kill@2", "0\n1\n", -signal.SIGKILL),
        (f"{POINT}=kill@9", "0\n1\n2\n", 0),
        ("track.after_commit=kill", "0\n1\n2\n", 0),
        ("", "0\n1\n2\n", 0),
    ],
)
def test_the_process_dies_there_and_then(setting: str, said: str, code: int) -> None:
    """Killed as by an accident when it is there for the n-th time, and at no other point."""
    with reaching(setting, 3) as process:
        output, _ = process.communicate()
    assert (output, process.returncode) == (said, code)


def test_the_process_stands_until_it_is_told_to_go_on() -> None:
    """Stopped, it is alive and does nothing; continued, it passes the point no second time."""
    with reaching(f"{POINT}=stop", 2) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate()
    assert (output, process.returncode) == ("0\n1\n", 0)


@pytest.mark.parametrize(
    "setting", ["x", "track.nowhere=kill", f"{POINT}=explode", f"{POINT}=kill@0", f"{POINT}=kill@"]
)
def test_what_is_no_failpoint_is_refused(setting: str) -> None:
    """A misspelt point would never be reached, and the test that wants it would pass."""
    with pytest.raises(Problem, match="BLUETICK_FAILPOINT"):
        failpoints.arm(setting)

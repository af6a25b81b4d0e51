"""A short selection of the programs for three brokers, hostile senders and full disks.

They are run as programs: they move to namespaces of their own, which a test process must not.
"""

import asyncio
import sys

import pytest

from service.child_processes import dying_with_parent
from tests.faults.scenarios import SCENARIOS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

SHORT = ("hostile-reasons", "hostile-gateways")


async def _run(*options: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *dying_with_parent([sys.executable, "-m", "tests.faults", *options]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_three_brokers_lose_and_double_nothing() -> None:
    """A leader killed, a coordinator stopped, a cable out: all that was answered 200 is there."""
    code, output = await _run("--brokers", "3", "--only", "brokers-short")
    assert code == 0, output


async def test_hostile_senders_harm_nobody_else() -> None:
    """All honest facts are seen beside hostile bodies, and no process ends."""
    code, output = await _run("--only", *SHORT)
    assert code == 0, output


async def test_a_full_disk_loses_nothing() -> None:
    """The disk of a tracker's store is full, while the tracker is down and while it runs."""
    code, output = await _run("--only", "disks-store")
    assert code == 0, output


def test_the_short_selection_is_there() -> None:
    assert set(SHORT) <= SCENARIOS.keys()

"""A short selection of scenarios with three brokers, hostile senders and full disks.

They run as programs: they move to other namespaces, which a test process must not do.
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
    """A leader killed, a coordinator stopped, a cable unplugged: no answered webhook is lost."""
    code, output = await _run("--brokers", "3", "--only", "brokers-short")
    assert code == 0, output


async def test_hostile_senders_do_not_affect_others() -> None:
    """During hostile bodies all honest facts are seen, and no process ends."""
    code, output = await _run("--only", *SHORT)
    assert code == 0, output


async def test_a_full_disk_loses_nothing() -> None:
    """The disk of a tracker's store is full before its start, and while it runs."""
    code, output = await _run("--only", "disks-store")
    assert code == 0, output


def test_the_short_selection_exists() -> None:
    assert set(SHORT) <= SCENARIOS.keys()

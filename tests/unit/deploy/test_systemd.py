"""deploy/systemd/: valid units that restart, keep their state, and may do little."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ingest.server import _GRACE_SECONDS, _LAST_ACCEPT_SECONDS
from service.settings import Settings
from tests.unit.deploy.manifests import DEPLOY, lines

UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
LASTING = [unit for unit in SERVICES if ("Type", "exec") in lines(unit)]


def _instance(unit: Path, folder: Path) -> Path:
    """Write the unit, the first of its template, with a program that every machine has."""
    text = unit.read_text().replace("/opt/bluetick/bin/bluetick", "/bin/true")
    written = folder / unit.name.replace("@", "@1")
    written.write_text(text)
    return written


def test_there_is_a_unit_for_each_service() -> None:
    assert {unit.name.partition(".")[0].rstrip("@") for unit in LASTING} == {
        *("bluetick-ingest", "bluetick-normalise", "bluetick-track", "bluetick-measure"),
        "bluetick-console",
    }


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_it(unit: Path, tmp_path: Path) -> None:
    """No unknown key, no invalid value."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    for each in UNITS:  # a timer looks for its service
        _instance(each, tmp_path)
    command = [analyze, "verify", "--man=no", str(_instance(unit, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "bluetick" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", LASTING, ids=lambda unit: unit.name)
def test_a_service_returns(unit: Path) -> None:
    """It is restarted for ever, also while Kafka is away for long."""
    found = dict(lines(unit))
    assert (found["Restart"], found["StartLimitIntervalSec"]) == ("always", "0")
    assert int(found["LimitNOFILE"]) > 2 * int(Settings.model_fields["max_connections"].default)


def test_each_service_has_time_to_end() -> None:
    """Longer than its drain, or than its transaction."""
    seconds = {unit.name: int(dict(lines(unit))["TimeoutStopSec"]) for unit in LASTING}
    drain = Settings.model_fields["drain"].default
    assert seconds["bluetick-ingest.service"] > drain + _LAST_ACCEPT_SECONDS + _GRACE_SECONDS + 5
    transaction = Settings.model_fields["transaction_timeout"].default
    assert seconds["bluetick-normalise@.service"] > transaction
    assert seconds["bluetick-track@.service"] > transaction + 10


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_may_do_little(unit: Path) -> None:
    """It is not root, and the file system is read-only but for its own directories."""
    found = dict(lines(unit))
    assert found["User"] == "bluetick"
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictNamespaces"):
        assert found[key] == "yes"
    assert (found["ProtectSystem"], found["CapabilityBoundingSet"]) == ("strict", "")

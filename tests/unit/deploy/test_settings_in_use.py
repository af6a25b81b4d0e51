"""Every setting that a container, a pod or a unit sets is a setting of Bluetick, and is valid."""

from collections.abc import Iterator

import pytest

from service.settings import Settings
from tests.unit.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    compose,
    environment,
    lines,
    name,
    objects,
    pod,
)

# A file of the container, which is not on this machine.
_FILES = {"BLUETICK_CA_FILE", "BLUETICK_PASSWORD_FILE"}


def _of_compose() -> Iterator[tuple[str, dict[str, str]]]:
    for service, one in compose()["services"].items():
        settings = {k: v for k, v in one.get("environment", {}).items() if k.startswith("BLUE")}
        if settings:
            yield f"compose {service}", settings


def _of_kubernetes() -> Iterator[tuple[str, dict[str, str]]]:
    common = dict(lines(KUBERNETES / "base" / "settings.env"))
    for one in objects():
        for container in (pod(one) or {}).get("containers", ()):
            yield name(one), common | environment(container)


def _of_systemd() -> Iterator[tuple[str, dict[str, str]]]:
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        values = [value for key, value in lines(unit) if key == "Environment"]
        filled = (value.replace("%i", "1").replace("%l", "host") for value in values)
        yield unit.name, dict(value.split("=", 1) for value in filled)


USED = [*_of_compose(), *_of_kubernetes(), *_of_systemd()]


@pytest.mark.parametrize(("where", "values"), USED, ids=[where for where, _ in USED])
def test_settings_are_known_and_valid(
    monkeypatch: pytest.MonkeyPatch, where: str, values: dict[str, str]
) -> None:
    """A service refuses to start with an unknown or an invalid one."""
    names = {setting.removeprefix("BLUETICK_").lower() for setting in values}
    assert names - Settings.model_fields.keys() == set(), where
    for setting in values.keys() - _FILES:
        monkeypatch.setenv(setting, values[setting])
    Settings()


def test_all_kinds_of_deployment_are_found() -> None:
    """A change of the files' form does not make the test above empty."""
    kinds = {where.split()[0].split("/")[0].split("-")[0] for where, _ in USED}
    assert kinds == {"compose", "StatefulSet", "Deployment", "Job", "CronJob", "bluetick"}

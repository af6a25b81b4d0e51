"""`bluetick config show`: values, origins and masks, as a table and as JSON."""

import json

import pytest
from typer.testing import CliRunner

import bluetick
from service.setting_names import variable
from service.settings import Settings

SECRET = "hunter22"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)
    monkeypatch.setenv("BLUETICK_SECURITY", "SASL_PLAINTEXT")
    monkeypatch.setenv("BLUETICK_USERNAME", "bt")
    monkeypatch.setenv("BLUETICK_PASSWORD", SECRET)
    monkeypatch.setenv("BLUETICK_OBSERVATIONS_NAMESPACE", "v1")
    monkeypatch.setenv("BLUETICK_PORT", "9000")


def _run(*arguments: str) -> str:
    ended = CliRunner().invoke(bluetick.app, ["config", "show", *arguments])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_json_has_every_setting_with_its_origin() -> None:
    """An option wins over the environment; namespaces are as they are used; secrets are masked."""
    output = _run("--json", "--port", "9001")
    shown = json.loads(output)
    assert list(shown) == [variable(name) for name in Settings.model_fields]
    assert shown["BLUETICK_PORT"] == {"value": 9001, "origin": "option"}
    assert shown["BLUETICK_RAW_NAMESPACE"] == {"value": "v1", "origin": "default"}
    assert shown["BLUETICK_PASSWORD"] == {"value": "********", "origin": "environment"}
    assert shown["BLUETICK_STORIES"] == {"value": False, "origin": "default"}
    assert shown["BLUETICK_DATA"] == {"value": str(Settings().data), "origin": "default"}
    assert SECRET not in output


def test_the_table_fits_a_terminal() -> None:
    """Each line has at most 80 columns, and the secret is masked there too."""
    output = _run()
    assert max(map(len, output.splitlines())) <= 80
    assert SECRET not in output
    rows = [line.split() for line in output.splitlines()]
    assert ["BLUETICK_PORT", "9000", "environment"] in rows
    assert ["BLUETICK_CA_FILE", "-", "default"] in rows

"""The directory for data, whose default depends on the machine."""

from pathlib import Path

import pytest

from service.settings import Settings


@pytest.mark.parametrize(
    ("environment", "data"),
    [
        ({"HOME": "/h"}, "/h/.local/share/bluetick"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/bluetick"),
        ({"HOME": "/h", "XDG_DATA_HOME": "x"}, "/h/.local/share/bluetick"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x", "BLUETICK_DATA": "/d"}, "/d"),
        ({"HOME": "/h", "BLUETICK_DATA": "data"}, "data"),
    ],
)
def test_data_is_in_one_place(
    environment: dict[str, str], data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command has the same default, in the user's data directory; stores are below."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.data == Path(data)
    assert settings.stores == Path(data) / "state/bluetick"
    assert settings.of("v2").stores == Path(data) / "state/v2"


def test_a_user_without_a_home_needs_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands without data work; the default cannot be created."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert Settings().data == Path("/nonexistent/bluetick")

"""The origin of each setting's value."""

import pytest

from service.settings import Origin, Settings, groups, origin


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("port", "option"),
        ("kafka", "environment"),
        ("namespace", "environment"),
        ("data", "default"),
    ],
)
def test_origin(name: str, expected: Origin) -> None:
    """An option wins over a variable, whatever its case; what is in neither is the default."""
    variables = ("BLUETICK_PORT", "BLUETICK_KAFKA", "bluetick_namespace", "HOME")
    assert origin(name, {"port"}, variables) == expected


def test_a_value_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that has a variable for a file, such as a password, comes from that file."""
    fields = {**Settings.model_fields, "password_file": Settings.model_fields["ca_file"]}
    monkeypatch.setattr(Settings, "__pydantic_fields__", fields)
    assert origin("password", (), ("BLUETICK_PASSWORD_FILE",)) == "file"
    assert origin("username", (), ("BLUETICK_USERNAME_FILE",)) == "default"


def test_every_setting_has_one_group() -> None:
    """The groups hold all settings, in their order."""
    assert [name for names in groups().values() for name in names] == [*Settings.model_fields]

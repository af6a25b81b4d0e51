"""Settings: the origin of a value, secrets from files, contradictions, what is never shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from service.errors import Problem
from service.settings import SECRETS, Origin, Settings, groups, load, origin


@pytest.fixture(autouse=True)
def _login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUETICK_SECURITY", "SASL_PLAINTEXT")
    monkeypatch.setenv("BLUETICK_USERNAME", "bt")


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


def test_every_secret_can_be_in_a_file() -> None:
    """Each setting that is hidden has a second form, which names a file."""
    hidden = [name for name, one in Settings.model_fields.items() if "SecretStr" in str(one)]
    assert hidden == [*SECRETS]


@pytest.mark.parametrize("text", ["pa ss", "pa ss\n", "pa ss\r\n"])
def test_a_secret_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The end of its last line is not part of it."""
    file = tmp_path / "password"
    file.write_bytes(text.encode())
    monkeypatch.setenv("BLUETICK_PASSWORD_FILE", str(file))
    found = load().password
    assert isinstance(found, SecretStr)
    assert found.get_secret_value() == "pa ss"


def test_an_empty_file_of_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("\n")
    monkeypatch.setenv("BLUETICK_PASSWORD_FILE", str(file))
    with pytest.raises(Problem, match=r"cannot be read from .*BLUETICK_PASSWORD_FILE.*it is empty"):
        load()


def test_a_contradiction_ends_the_start() -> None:
    with pytest.raises(Problem, match="needs BLUETICK_PASSWORD or BLUETICK_PASSWORD_FILE; set it"):
        load()


def test_a_secret_is_not_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a contradiction, nor with a value that is not valid."""
    for name in SECRETS:
        monkeypatch.setenv(f"BLUETICK_{name.upper()}", "canary")
    monkeypatch.setenv("BLUETICK_SASL_MECHANISM", "canary-mechanism")
    with pytest.raises(Problem) as refused:
        load()
    assert "'canary'" not in str(refused.value)
    monkeypatch.delenv("BLUETICK_SASL_MECHANISM")
    with pytest.raises(Problem) as refused:
        load()
    assert "canary" not in str(refused.value)


def test_invalid_privacy_keys_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the key, and not its secret."""
    monkeypatch.setenv("BLUETICK_PASSWORD", "pa ss")
    monkeypatch.setenv("BLUETICK_PRIVACY_KEY", "k1=0123456789abcdef,k2@soon=0123456789abcdef")
    with pytest.raises(Problem, match="the key k2 has no time such as") as refused:
        load()
    assert "0123456789abcdef" not in str(refused.value)


def test_a_policy_is_kept_in_its_shortest_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ways to write one policy are the same policy; one of no form is refused."""
    assert Settings(privacy=" texts:keep , payload:omit").privacy == "payload:omit"
    monkeypatch.setenv("BLUETICK_PASSWORD", "pa ss")
    monkeypatch.setenv("BLUETICK_PRIVACY", "numbers:mask")
    with pytest.raises(Problem, match="BLUETICK_PRIVACY 'numbers:mask' is not valid: numbers is"):
        load()

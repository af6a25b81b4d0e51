"""The environment of child processes."""

from service import child_environment

_ENVIRONMENT = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "BLUETICK_PASSWORD": "of Kafka",
    "SHOP": "of a source",
    "OTHER": "of nothing",
}


def test_a_service_gets_its_settings_and_the_named_secrets() -> None:
    found = child_environment.service(_ENVIRONMENT, ["SHOP"])
    assert found == {name: _ENVIRONMENT[name] for name in _ENVIRONMENT if name != "OTHER"}


def test_another_program_gets_the_variables_of_the_system() -> None:
    assert child_environment.system(_ENVIRONMENT) == {"PATH": "/bin", "LC_ALL": "C"}

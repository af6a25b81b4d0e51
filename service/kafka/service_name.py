"""The name of this process for Kafka: the command that it runs, such as `track`."""

from schemas.topics import Topics

_command = "library"  # in a program that is not Bluetick's command line


def name_service(command: str) -> None:
    """Name this process, once, at its start."""
    global _command  # noqa: PLW0603 - a property of the process
    _command = command


def service_name() -> str:
    """Return the command that this process runs."""
    return _command


def client_id(topics: Topics, instance: str | None) -> str:
    """Return `<namespace>.<service>[.<instance>]`, for quotas and the brokers' logs."""
    return ".".join(part for part in (topics.namespace, _command, instance) if part)

"""The first steps of a command: read the settings, set up logging, check the topics."""

from collections.abc import Collection

from service.settings import Settings, load


def ready() -> Settings:
    """Return the settings, after a check of the topics."""
    settings = load()
    require_topics(settings, settings.topics.required)
    return settings


def require_topics(settings: Settings, needed: Collection[str]) -> None:
    """Set up logging; raises `Problem` if a topic is missing or its partition count differs."""
    import asyncio

    from deploy import topics

    asyncio.run(topics.require(settings, needed))
    log(settings.log_level)


def log(level: str) -> None:
    """Set up logging."""
    from service.log_lines import log_to_stderr

    log_to_stderr(level)

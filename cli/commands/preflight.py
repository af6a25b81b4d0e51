"""What commands do before their work: read the settings, log, look whether the topics are there."""

from collections.abc import Collection

from service.settings import Settings, load


def ready() -> Settings:
    """The settings, once the topics are known to be as they should be."""
    settings = load()
    require_topics(settings, settings.topics.required)
    return settings


def require_topics(settings: Settings, needed: Collection[str]) -> None:
    """Refuse to start on topics that are missing or cut differently; else log from here on."""
    import asyncio

    from deploy import topics

    asyncio.run(topics.require(settings, needed))
    log(settings.log_level)


def log(level: str) -> None:
    """Log from here on."""
    from service.log_lines import log_to_stderr

    log_to_stderr(level)

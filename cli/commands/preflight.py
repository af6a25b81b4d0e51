"""The first steps of a command: read the settings, set up logging, check the topics."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from service.settings import Settings, load


def ready() -> Settings:
    """Return the settings, after a check of the topics; logs text for people."""
    settings = load()
    require_topics(settings, settings.topics.required)
    log_as_text(settings.log_level)
    return settings


def require_topics(settings: Settings, needed: Collection[str]) -> None:
    """Raise `Problem` if a topic is missing or its partition count differs."""
    import asyncio

    from deploy import topics
    from service.log_lines import without_client_lines

    with without_client_lines():
        asyncio.run(topics.require(settings, needed))


def log_as_text(level: str) -> None:
    """Set up logging of a command that a person runs."""
    from service.log_lines import log_to_stderr

    log_to_stderr(level)


@contextmanager
def running_as_service(name: str, settings: Settings) -> Iterator[None]:
    """Log and trace as a service during the block, as its settings say; log how it ends."""
    from cli.problem_sentences import worded
    from service.log_lines import chosen, log_to_stderr, logging_the_end

    form = chosen(settings.log_format)
    log_to_stderr(
        settings.log_level,
        form,
        service=name,
        namespace=settings.namespace,
        instance=settings.instance,
    )
    with logging_the_end(form, worded), _traced(name, settings):
        yield


@contextmanager
def _traced(name: str, settings: Settings) -> Iterator[None]:
    """Trace the service during the block, if its settings say so."""
    if settings.traces == "off":
        yield
        return
    from service.errors import Problem
    from service.tracing import tracing

    try:
        from service.open_telemetry import exporting
    except ImportError:
        raise Problem("traces_missing") from None
    traces = exporting(settings, name)
    try:
        with tracing(traces):
            yield
    finally:
        traces.stop()

"""`bluetick up`, and the three services it runs: `ingest`, `normalise` and `track`."""

import sys
from typing import Annotated

import typer

from cli.options import Data, Port


def up(
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Send examples through, show what comes out, end.")
    ] = False,
    port: Port = None,
    kafka_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of the local Kafka; default: 9092, any for the demo."
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Run everything on this machine: Kafka, the topics, ingest, normalise and track.

    With BLUETICK_KAFKA set, that cluster is used and none is started.
    """
    from cli.up import demo as demonstration
    from cli.up import up as everything
    from service import private_files
    from service.settings import load

    private_files.mask()
    settings = load(port=port)
    if demo:
        sys.exit(demonstration.demo(settings, kafka_port))
    sys.exit(everything.up(settings, kafka_port, data))


def ingest(
    port: Port = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes on the one port.")] = 1,
    inherited: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Take webhooks over HTTP and put each body on Kafka."""
    from cli.commands.preflight import log
    from cli.program import another
    from ingest import server
    from ingest import supervisor as several
    from service import private_files
    from service.settings import load

    private_files.mask()
    settings = load(port=port)
    log(settings.log_level)
    if inherited is not None:
        server.run_worker(settings, inherited, several.report)
    elif workers == 1:
        server.run(settings)
    else:

        def worker(listener: int, problems: int) -> list[str]:
            return another("ingest", "--inherited", str(listener), problem_to=problems)

        several.run(settings, workers, worker)


def normalise(health_port: Port = None) -> None:
    """Turn raw bodies into observations and dead letters."""
    from cli.commands.preflight import require_topics
    from cli.messages import CommandProblem
    from processors.normalising.normaliser import Normaliser
    from processors.runtime.process import run
    from service import private_files
    from service.settings import load

    private_files.mask()
    settings = load(normalise_health_port=health_port)
    if settings.topics.observations in settings.topics.foreign:
        raise CommandProblem(
            "observations_of_other_namespace",
            (
                "the namespace {namespace} tracks the observations of {observed} "
                "(BLUETICK_OBSERVATIONS_NAMESPACE), whose own normalise makes them; run it "
                "there, with BLUETICK_NAMESPACE={observed}"
            ),
            namespace=settings.namespace,
            observed=settings.topics.observed,
        )
    require_topics(settings, settings.topics.needed("normalise"))
    run("normalise", settings, Normaliser, settings.normalise_health_port)


def track(health_port: Port = None, data: Data = None) -> None:
    """Turn observations into statuses, events, inbound messages and the state of each message."""
    from cli.commands.preflight import require_topics
    from processors.runtime.process import run
    from processors.tracking.tracker import Tracker
    from service import private_files
    from service.settings import load

    private_files.mask()
    settings = load(track_health_port=health_port, data=data)
    require_topics(settings, settings.topics.needed("track"))
    private_files.tighten(settings.data / settings.namespace)
    run("track", settings, Tracker, settings.track_health_port)

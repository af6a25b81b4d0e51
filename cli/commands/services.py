"""`bluetick up`, and the services that it runs: `ingest` and the processors."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AllPorts, Data, Port, port_option
from schemas.processor_list import PROCESSORS, Processor

if TYPE_CHECKING:
    from service.settings import Settings


def up(
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Send examples, show the results, and exit.")
    ] = False,
    port: AllPorts = None,
    kafka_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help=r"Port of the local Kafka. \[default: 9092; for the demo a free one]",
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Run everything on this machine: Kafka, the topics, ingest and the processors.

    With BLUETICK_KAFKA set, that cluster is used and none is started.

    A service that ends is started again; after six quick ends in a row, everything stops.
    """
    from cli.up import demo as demonstration
    from cli.up import up as everything
    from service import private_files
    from service.settings import load

    private_files.mask()
    settings = load(port=port, data=data)
    if demo:
        sys.exit(demonstration.demo(settings, kafka_port))
    sys.exit(everything.up(settings, kafka_port))


def ingest(
    port: Port = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Number of processes on the port.")
    ] = 1,
    inherited: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Receive webhooks over HTTP and write each body to Kafka."""
    from cli.commands.preflight import running_as_service
    from cli.own_command import another
    from ingest import server
    from ingest import supervisor as several
    from service import private_files
    from service.settings import load

    private_files.mask()
    settings = load(port=port)
    with running_as_service("ingest", settings):
        if inherited is not None:
            server.run_worker(settings, inherited, several.report)
        elif workers == 1:
            server.run(settings)
        else:

            def worker(listener: int, problems: int) -> list[str]:
                return another("ingest", "--inherited", str(listener), problem_to=problems)

            several.run(settings, workers, worker)


def processor(one: Processor) -> Callable[..., None]:
    """Return the command that runs a processor; one with state has a data directory."""

    def stateless(health_port: int | None = None) -> None:
        _process(one, health_port, None)

    def stateful(health_port: int | None = None, data: Data = None) -> None:
        _process(one, health_port, data)

    command = stateful if one.keeps_state else stateless
    command.__name__ = one.name
    command.__doc__ = one.summary
    port = port_option(one.port_setting, one.health_port, "Port of health and metrics; 0: any.")
    command.__annotations__["health_port"] = Annotated[int | None, port]
    return command


def _process(one: Processor, health_port: int | None, data: Path | None) -> None:
    from cli.commands.preflight import require_topics, running_as_service
    from processors.import_processor import member
    from processors.runtime.run_processor import run
    from service import private_files
    from service.settings import load

    private_files.mask()
    settings = load(**{one.port_setting: health_port}, data=data)
    with running_as_service(one.name, settings):
        _refuse_foreign_outputs(one, settings)
        require_topics(settings, settings.topics.needed(one.name))
        if one.keeps_state:
            private_files.tighten(settings.stores)
        run(one, settings, member(one))


def _refuse_foreign_outputs(one: Processor, settings: "Settings") -> None:
    from cli.problem_sentences import CommandProblem

    topics = settings.topics
    if {*topics.outputs(one.name)} & {*topics.foreign}:
        raise CommandProblem(
            "observations_of_other_namespace",
            (
                "the namespace {namespace} reads the observations of {observed} "
                "(BLUETICK_OBSERVATIONS_NAMESPACE) and needs no {processor} of its own; run that "
                "with BLUETICK_NAMESPACE={observed}"
            ),
            namespace=settings.namespace,
            observed=topics.observed,
            processor=one.name,
        )


COMMANDS: tuple[Callable[..., None], ...] = (up, ingest, *map(processor, PROCESSORS))

"""The command `bluetick console`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Data, overrides, port_option

if TYPE_CHECKING:
    from service.settings import Settings


def console(
    host: Annotated[
        str | None,
        typer.Option(
            help=f"Address of the pages. {overrides('console_host', '127.0.0.1')}",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None, port_option("console_port", 8085, "Port of the pages; 0: any.")
    ] = None,
    health_port: Annotated[
        int | None,
        port_option("console_health_port", 8086, "Port of health and metrics; 0: any."),
    ] = None,
    data: Data = None,
    *,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Make the read model again from the topics, and exit."),
    ] = False,
) -> None:
    """Serve the pages and the JSON API, and keep their read model up to date."""
    from cli.commands.preflight import require_topics, running_as_service
    from service import private_files
    from service.errors import Problem
    from service.settings import load

    private_files.mask()
    settings = load(
        console_host=host, console_port=port, console_health_port=health_port, data=data
    )
    try:
        from console import serving
        from console.read_model.loading.loader import kinds
    except ImportError:
        raise Problem("console_missing") from None
    if rebuild:
        require_topics(settings, list(kinds(settings.topics)))
        sys.exit(_rebuild(settings))
    with running_as_service("console", settings):
        require_topics(settings, list(kinds(settings.topics)))
        serving.run(settings)


def _rebuild(settings: "Settings") -> int:
    from rich.console import Console

    from cli.commands.preflight import log_as_text
    from cli.output import progress
    from console import serving

    log_as_text("WARNING")
    terminal = Console(stderr=True, highlight=False)
    with progress.shown(terminal) as shown:
        reading = shown.count("reading the topics", None)
        finished = serving.rebuild(settings, reading.show)
    if finished:
        terminal.print(f"the read model of {settings.namespace} is made again")
    return 0 if finished else 1

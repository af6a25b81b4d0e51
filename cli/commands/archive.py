"""`bluetick archive`: raw bodies in files, for longer than Kafka's retention."""

import sys
from typing import Annotated

import typer

from cli.options import Received, spread


@spread
def archive(
    url: Annotated[str, typer.Argument(help="A directory, or a URL that fsspec knows.")],
    *,
    asked: Received,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every byte of the archive instead.")
    ] = False,
) -> None:
    """Archive raw bodies as Parquet files: all new ones, or a range of time.

    `bluetick replay … --archive URL` reads them back after Kafka has deleted them.
    """
    from processors.archive import requirements

    requirements.check()
    from cli import archive as archiving
    from cli.commands.preflight import ready
    from cli.problem_sentences import CommandProblem
    from processors.runtime import failpoints

    if verify and asked.given:
        raise CommandProblem(
            "verify_takes_no_range",
            "--verify checks a whole archive; leave out --provider, --from and --to",
        )
    if verify:
        sys.exit(archiving.verify(url))
    given = archiving.wanted(asked)
    settings = ready()
    failpoints.arm(settings.failpoint)
    sys.exit(archiving.run(settings, url, given))

"""`bluetick topics`: check and create the topics."""

import typer

group = typer.Typer(help="Check and create the topics of a namespace.", no_args_is_help=True)


@group.command()
def check() -> None:
    """Compare the topics with what Bluetick expects; exit code 1 if they differ."""
    import asyncio

    from cli.messages import CommandProblem
    from deploy import topics
    from service.settings import load

    findings = asyncio.run(topics.check(load()))
    for finding in findings:
        typer.echo(finding)
    if findings:
        raise CommandProblem(
            "topics_differ",
            (
                "the topics differ from the expected ones; `bluetick topics apply` creates missing "
                "topics and settings, and keeps settings that were changed on purpose"
            ),
        )
    typer.echo("every topic is as expected")


@group.command()
def apply() -> None:
    """Create missing topics and settings; nothing is ever deleted or repartitioned."""
    import asyncio

    from deploy import topics
    from service.settings import load

    done = asyncio.run(topics.apply(load()))
    for line in done or ["nothing to do: every topic is as expected"]:
        typer.echo(line)

"""`bluetick topics`: check and create the topics."""

from typing import Annotated

import typer

from schemas.rights import COMMANDS

group = typer.Typer(help="Check and create the topics of a namespace.", no_args_is_help=True)


@group.command()
def check() -> None:
    """Compare the topics with what Bluetick expects; exit code 1 if they differ."""
    import asyncio

    from cli.problem_sentences import CommandProblem
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


@group.command(epilog=f"The commands: {', '.join(COMMANDS)}.")
def acls(
    command: Annotated[str, typer.Argument(help="The command that the user runs.")],
    *,
    principal: Annotated[
        str | None, typer.Option(help="Default: User:bluetick-COMMAND.", show_default=False)
    ] = None,
) -> None:
    """Print the kafka-acls commands for the least rights of a command (docs/security.md)."""
    from cli.problem_sentences import CommandProblem
    from deploy.acls import kafka_acls
    from schemas.rights import rights
    from service.settings import load

    settings = load()
    if command not in COMMANDS:
        raise CommandProblem(
            "command_without_rights",
            "{command} has no rights of its own; the commands are: {commands}",
            command=command,
            commands=", ".join(COMMANDS),
        )
    user = principal or f"User:bluetick-{command.replace(' ', '-')}"
    for line in kafka_acls(rights(command, settings.topics), user, settings.kafka):
        typer.echo(line)

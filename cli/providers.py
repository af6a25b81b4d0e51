"""The providers a person names on the command line."""

from cli.messages import CommandProblem
from providers import NAMES


def providers(name: str | None) -> tuple[str, ...]:
    """The provider of that name, or all of them; raises `Problem` if there is none."""
    if name is None:
        return NAMES
    if name not in NAMES:
        raise CommandProblem(
            "unknown_provider",
            "there is no provider {name!r}; there is: {providers}",
            name=name,
            providers=", ".join(NAMES),
        )
    return (name,)

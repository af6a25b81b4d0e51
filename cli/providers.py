"""The providers that a user names on the command line."""

from cli.problem_sentences import CommandProblem
from providers import NAMES


def providers(name: str | None) -> tuple[str, ...]:
    """Return the provider of that name, or all of them; raises `Problem` if it is unknown."""
    if name is None:
        return NAMES
    if name not in NAMES:
        raise CommandProblem(
            "unknown_provider",
            "there is no provider {name!r}; the providers are: {providers}",
            name=name,
            providers=", ".join(NAMES),
        )
    return (name,)

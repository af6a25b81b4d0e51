"""The providers a person names on the command line."""

from schemas.topics import PROVIDERS
from service.errors import Problem


def providers(name: str | None) -> tuple[str, ...]:
    """The provider of that name, or all of them; raises `Problem` if there is none."""
    if name is None:
        return PROVIDERS
    if name not in PROVIDERS:
        raise Problem(f"there is no provider {name!r}; there is: {', '.join(PROVIDERS)}")
    return (name,)

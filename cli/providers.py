"""The providers a person names on the command line."""

from providers import NAMES
from service.errors import Problem


def providers(name: str | None) -> tuple[str, ...]:
    """The provider of that name, or all of them; raises `Problem` if there is none."""
    if name is None:
        return NAMES
    if name not in NAMES:
        raise Problem(f"there is no provider {name!r}; there is: {', '.join(NAMES)}")
    return (name,)

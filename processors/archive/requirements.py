"""A check that the packages of the extra `archive` are installed."""

from importlib.util import find_spec

from service.errors import Problem


def check() -> None:
    """Raise `Problem` if a package is missing; call it before reading or writing archives."""
    if missing := [name for name in ("pyarrow", "fsspec") if find_spec(name) is None]:
        raise Problem("archive_requirements", missing=missing)

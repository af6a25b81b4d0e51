"""Whether the packages that archives need are installed: the extra `archive`."""

from importlib.util import find_spec

from service.errors import Problem


def check() -> None:
    """Raise `Problem` if one is missing; call it before anything that reads or writes archives."""
    if missing := [name for name in ("pyarrow", "fsspec") if find_spec(name) is None]:
        raise Problem("archive_requirements", missing=missing)

"""Fetch Kafka's jars with jgo. Imported only when the jars are not there yet: jgo is optional."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import Artifact, MavenContext, PythonResolver

_TRIES = 3
_PAUSE_SECONDS = 0.5
_AT_ONCE = 4


class Cancelled(Exception):
    """The caller does not want the jars any more."""


class _Resolver(PythonResolver):
    """jgo's resolver in Python, made to stop when told to and to try again after a hiccup."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def download(self, artifact: Artifact) -> Path | None:
        for attempt in range(1, _TRIES + 1):
            if self._stop.is_set():
                raise Cancelled
            try:
                return super().download(artifact)
            except OSError:  # every error of requests is one
                _forget(artifact)
                if attempt == _TRIES:
                    raise
                self._stop.wait(_PAUSE_SECONDS * attempt)
        raise AssertionError


def _forget(artifact: Artifact) -> None:
    """Remove what an interrupted download left: jgo takes any file that exists for a whole one."""
    if artifact.cached_path:
        artifact.cached_path.unlink(missing_ok=True)


def fetch(coordinates: tuple[str, ...], directory: Path, stop: threading.Event) -> list[Path]:
    """Download these artifacts and all they need at run time below `directory`; return the jars.

    Blocks. Raises Cancelled soon after `stop` is set, and whatever jgo raises: OSError when the
    network fails, RuntimeError when something is not in the repository, others for bad answers.
    """
    context = MavenContext(resolver=_Resolver(stop), repo_cache=directory)
    wanted, needed = context.resolver.resolve([context.create_dependency(c) for c in coordinates])
    artifacts = [d.artifact for d in (*wanted, *needed) if d.scope in (None, "compile", "runtime")]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(Artifact.resolve, artifacts))

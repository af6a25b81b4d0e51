"""Downloads Kafka's jars with jgo. It is imported only if they are missing: jgo is optional."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import Artifact, MavenContext, PythonResolver

_TRIES = 3
_PAUSE_SECONDS = 0.5
_AT_ONCE = 4


class Cancelled(Exception):
    """The caller has cancelled the download."""


class _Resolver(PythonResolver):
    """jgo's resolver in Python, with cancellation and with retries after network errors."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def download(self, artifact: Artifact) -> Path | None:
        for attempt in range(1, _TRIES + 1):
            if self._stop.is_set():
                raise Cancelled
            try:
                return super().download(artifact)
            except OSError:  # all errors of requests are OSErrors
                _remove_partial(artifact)
                if attempt == _TRIES:
                    raise
                self._stop.wait(_PAUSE_SECONDS * attempt)
        raise AssertionError


def _remove_partial(artifact: Artifact) -> None:
    """Remove a partial download: jgo treats every existing file as complete."""
    if artifact.cached_path:
        artifact.cached_path.unlink(missing_ok=True)


def fetch(coordinates: tuple[str, ...], directory: Path, stop: threading.Event) -> list[Path]:
    """Download these artifacts and their runtime dependencies to `directory`; return the jars.

    Blocks. Raises Cancelled soon after `stop` is set, and jgo's errors: OSError if the network
    fails, RuntimeError if an artifact is not in the repository, others for bad answers.
    """
    context = MavenContext(resolver=_Resolver(stop), repo_cache=directory)
    wanted, needed = context.resolver.resolve([context.create_dependency(c) for c in coordinates])
    artifacts = [d.artifact for d in (*wanted, *needed) if d.scope in (None, "compile", "runtime")]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(Artifact.resolve, artifacts))

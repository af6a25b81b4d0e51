"""Starting services again that have ended, with real processes."""

import sys
from pathlib import Path

import pytest

from cli import processes
from cli.processes import Running, Service, running, start
from cli.up import restarts
from cli.up.keep_running import keep_running
from deploy.local_kafka.broker import free_port
from service.settings import Settings

# Answers one request if its file does not exist yet, and dies.
DYING = """if True:
    import http.server, pathlib, sys
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
    print("a line")
    if not pathlib.Path(sys.argv[2]).exists():
        pathlib.Path(sys.argv[2]).touch()
        http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).handle_request()
    sys.exit(3)
"""


async def test_a_service_that_ends_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each end has its sentence, the log of each run is shown, and the last one is the problem."""
    port, log, said = free_port(0), list[str](), list[str]()
    program = [sys.executable, "-c", DYING, str(port), str(tmp_path / "served")]
    monkeypatch.setattr(processes, "another", lambda *_, **__: program)
    monkeypatch.setattr(restarts, "LONGEST_PAUSE", 0.0)
    settings = Settings()

    def show(_: str, text: str) -> None:
        log.append(text)

    async with running(settings, [Service("track", port)], show) as services:
        first = services[0]
        problem = await keep_running(settings, services, 0, show, said.append)
        assert services[0] is not first

    end = "track ended: exit code 3, see its log above; it is started again in 0 s"
    assert said == [end] * 5
    assert log.count("a line") == 6
    assert str(problem) == (
        "track ended 6 times in a row within 60 s of its start; the last time: exit code 3, see "
        "its log above"
    )


async def test_the_process_that_took_the_place_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end, `running` stops the processes that are in the list then."""
    port = free_port(0)
    program = [sys.executable, "-c", DYING, str(port), str(tmp_path / "served")]
    monkeypatch.setattr(processes, "another", lambda *_, **__: program)
    settings, other = Settings(), Service("track", port)
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]

    async with running(settings, [other], lambda *_: None) as services:
        await services[0].wait()
        monkeypatch.setattr(processes, "another", lambda *_, **__: sleeping)
        services[0] = second = await start(settings, other, lambda *_: None)
        assert isinstance(second, Running)
        assert not second.ended
    assert second.ended

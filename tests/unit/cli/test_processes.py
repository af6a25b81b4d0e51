"""Waiting until services are ready, with real processes."""

import sys
from pathlib import Path

import pytest

from cli import processes
from cli.processes import Service, running
from deploy.local_kafka.broker import free_port
from service.settings import Settings

# Not ready, with its reason, until the file exists.
STARTING = """if True:
    import http.server, pathlib, sys
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            ready = pathlib.Path(sys.argv[2]).exists()
            page = b'{"ready": true}' if ready else b'{"ready": false, "problems": ["a", "b"]}'
            self.send_response(200 if ready else 503)
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


async def test_the_reasons_why_a_service_is_not_ready_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from the health page of the service, not from its log."""
    ready, said = tmp_path / "ready", list[str]()
    port = free_port(0)
    program = [sys.executable, "-c", STARTING, str(port), str(ready)]
    monkeypatch.setattr(processes, "another", lambda *_, **__: program)
    monkeypatch.setattr(processes, "_SILENT_SECONDS", 0)

    def waiting(reasons: str) -> None:
        said.append(reasons)
        ready.touch()

    async with running(Settings(), [Service("track", port)], lambda *_: None, waiting) as services:
        assert not services[0].ended
    assert said == ["track: a; b"]

"""Personal data with the real command line: no sink holds a clear value, and forgetting works."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from cli.output.records import as_line
from cli.tail import follow, resolve
from deploy.local_kafka.broker import free_port
from schemas.topics import Topics
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up, caught_up_with, read
from tests.e2e.canaries import Canaries
from tests.e2e.commands import command, run

_SECONDS = 60
_SECRET = "not-to-be-seen-in-any-sink"
_POLICY = "numbers:hash,texts:omit,payload:omit"
_SERVICES = ("ingest", "normalise", "track", "measure")


class Installation:
    """A namespace with a policy, the ports of its services, and what was found in each sink."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.topics: Topics = settings.topics
        self.sinks: dict[str, str] = {}
        self.ports = {name: free_port(0) for name in (*_SERVICES, "webhooks")}
        keys = directory / "keys"
        keys.write_text(f"k1={_SECRET}\n")
        self.environment = {
            "BLUETICK_KAFKA": settings.kafka,
            "BLUETICK_NAMESPACE": settings.namespace,
            "BLUETICK_PARTITIONS": str(settings.partitions),
            "BLUETICK_LOG_LEVEL": "DEBUG",
            "BLUETICK_SESSION_TIMEOUT": "6",
            "BLUETICK_DATA": str(directory / "data"),
            "BLUETICK_SPOOL": str(directory / "spool"),
            "BLUETICK_PORT": str(self.ports["webhooks"]),
            "BLUETICK_INGEST_METRICS_PORT": str(self.ports["ingest"]),
            "BLUETICK_NORMALISE_HEALTH_PORT": str(self.ports["normalise"]),
            "BLUETICK_TRACK_HEALTH_PORT": str(self.ports["track"]),
            "BLUETICK_MEASURE_HEALTH_PORT": str(self.ports["measure"]),
            "BLUETICK_PRIVACY": _POLICY,
            "BLUETICK_PRIVACY_KEY_FILE": str(keys),
        }

    async def run(self, *arguments: str) -> tuple[int, str]:
        code, output = await run(*arguments, **self.environment)
        self.sinks[" ".join(arguments)] = output
        return code, output

    @asynccontextmanager
    async def running(self, *names: str, **changes: str) -> AsyncIterator[httpx.AsyncClient]:
        """Run services; what they print is a sink."""
        async with AsyncExitStack() as stack, httpx.AsyncClient(timeout=_SECONDS) as client:
            services = {
                name: await stack.enter_async_context(command(name, **self.environment | changes))
                for name in names
            }
            ended = {name: asyncio.create_task(one.ended()) for name, one in services.items()}
            yield client
            for one in services.values():
                one.interrupt()
            await asyncio.gather(*ended.values())
            self.sinks |= {f"what {name} printed": one.output for name, one in services.items()}

    async def page(self, client: httpx.AsyncClient, name: str, page: str, text: str) -> str:
        """Wait until a page of a service contains a text; return the page."""
        async with asyncio.timeout(_SECONDS):
            while True:
                try:
                    found = (await client.get(f"http://127.0.0.1:{self.ports[name]}/{page}")).text
                except httpx.TransportError:
                    found = ""
                if text in found:
                    return found
                await asyncio.sleep(0.1)


@pytest.fixture
def installed(settings: Settings, tmp_path: Path) -> Installation:
    return Installation(settings, tmp_path)


@pytest.mark.long
async def test_no_sink_holds_a_clear_value_and_forgetting_deletes_states(
    installed: Installation,
) -> None:
    """All derived topics, logs at DEBUG, metrics, health, commands; then the states of a number."""
    canaries, names = Canaries(), installed.topics
    async with installed.running(*_SERVICES) as client:
        for name in _SERVICES:
            await installed.page(client, name, "health/ready", '"ready":true')
        for path, body in _requests(canaries):
            url = f"http://127.0.0.1:{installed.ports['webhooks']}/webhooks/{path}"
            assert (await client.post(url, content=body)).status_code == 200
        await caught_up(installed.settings.kafka, names)
        await caught_up_with(installed.settings.kafka, names, "measure")
        for name in _SERVICES:
            for page in ("health/ready", "metrics"):
                installed.sinks[f"{page} of {name}"] = await installed.page(client, name, page, "")
        code, said = await run(
            "forget", canaries.number("recipient"), "--yes", **installed.environment
        )
        assert code == 1
        assert "stop every `bluetick track`" in said
    await _look(installed, names)
    assert canaries.found(installed.sinks) == []
    await _check_that_canaries_arrived(installed, canaries, names)

    async with installed.running("normalise", BLUETICK_PRIVACY="keep") as client:
        page = await installed.page(client, "normalise", "health/ready", "BLUETICK_PRIVACY")
    assert f"with BLUETICK_PRIVACY={_POLICY}, but the setting is now keep" in page

    await _forget(installed, canaries)
    await _check_that_it_is_forgotten(installed, canaries)


async def _look(installed: Installation, names: Topics) -> None:
    """Add the derived topics, the stores, and what commands print of them."""
    for topic in names.required:
        if topic not in names.raw_topics:
            found = await read(installed.settings.kafka, topic)
            assert found, topic
            installed.sinks[topic] = "\n".join(f"{r.key} {r.headers} {r.value!r}" for r in found)
    letters = await read(installed.settings.kafka, names.dead_letters)
    assert [letter.value for letter in letters] == [b"", b""]
    for topic in names.required:
        kind, _ = resolve(names, topic)
        following = follow(installed.settings, topic, from_start=True, until_end=True)
        lines = [as_line(kind, record).plain async for record in following]
        assert lines, topic
        installed.sinks[f"tail {topic}"] = "\n".join(lines)
    place = f"dead-letters/{letters[0].partition}/{letters[0].offset}"
    commands = [("dead-letters", "list"), ("dead-letters", "show", place, "--json")]
    commands += [("config", "show"), ("spool", "status")]
    ends = await asyncio.gather(*(installed.run(*words) for words in commands))
    assert [code for code, _ in ends] == [0] * len(ends)
    installed.sinks["the stores"] = _files(Path(installed.environment["BLUETICK_DATA"]))
    assert _SECRET not in "".join(installed.sinks.values())


def _files(directory: Path) -> str:
    files = [file for file in directory.rglob("*") if file.is_file()]
    assert files
    return "".join(file.read_bytes().decode("latin-1") for file in files)


async def _check_that_canaries_arrived(
    installed: Installation, canaries: Canaries, names: Topics
) -> None:
    """The raw topics have all of them: the search above would find them."""
    raw = [one for topic in names.raw_topics for one in await read(installed.settings.kafka, topic)]
    text = "".join(f"{one.headers} {one.value.decode()}" for one in raw)
    assert [what for what, word in canaries.words.items() if word not in text] == []
    inbound = installed.sinks[names.inbound]
    assert "h1:k1:" in inbound
    assert '"type":"text"' in inbound


async def _forget(installed: Installation, canaries: Canaries) -> None:
    code, output = await installed.run("forget", canaries.number("recipient"), "--dry-run")
    assert code == 0
    assert "the states of 1 messages and 0 viewers" in output
    assert f"{installed.topics.raw('smsmanager')} " in output
    for what, messages, viewers in (("recipient", 1, 0), ("viewer", 0, 1), ("sender", 1, 0)):
        number = f"+{canaries.number(what)}"
        code, output = await run("forget", number, "--yes", "--json", **installed.environment)
        found = json.loads(output)
        assert (code, found["deleted"]) == (0, True), output
        assert (what, found["messages"], found["viewers"]) == (what, messages, viewers)
        assert len(found["raw"]) == 1
        left = {one["where"]: one["until"] for one in found["left"]}
        assert left.keys() >= {*installed.topics.required, "consumers"}
        assert left[installed.topics.raw("whapi")] > left[installed.topics.observations]


async def _check_that_it_is_forgotten(installed: Installation, canaries: Canaries) -> None:
    """A repeated report begins a new state; one of another message is known, and not repeated."""
    kafka, names = installed.settings.kafka, installed.topics
    before = [one.key for one in await read(kafka, names.statuses)]
    bodies = [_json([_sms(canaries, id_, to)]) for id_, to in _STATUSES]
    raw = names.raw("smsmanager")
    async with installed.running("normalise", "track") as client:
        await write(installed.settings, [Record(raw, 0, None, body) for body in bodies])
        await caught_up(kafka, names)
        await installed.page(client, "track", "health/ready", '"ready":true')
    after = [one.key for one in await read(kafka, names.statuses)]
    for key in before:
        after.remove(key)
    assert after == ["smsmanager/-/m-1"]


_STATUSES = (("m-1", "recipient"), ("m-2", "other recipient"))


def _requests(canaries: Canaries) -> list[tuple[str, bytes]]:
    """Return path and body of each webhook, with words and numbers of its own."""
    word, number = canaries.word, canaries.number
    card = f"BEGIN:VCARD\nFN:{word('name')}\nTEL:+{number('contact')}\nEND:VCARD"
    reply = {
        **_sms(canaries, "m-2", "reply recipient"),
        "type": "incoming",
        "body": word("text"),
        "sender": number("replier"),
    }
    message = {
        "id": "w-1",
        "type": "text",
        "chat_id": f"{number('sender')}@s.whatsapp.net",
        "from": number("sender"),
        "from_me": False,
        "from_name": word("from name"),
        "timestamp": 1_760_000_000,
        "text": {"body": word("message text")},
    }
    contact = {**message, "id": "w-2", "type": "contact", "contact": {"vcard": card}}
    contact |= {"from": number("other sender"), "chat_id": f"{number('other sender')}@c.us"}
    seen = {
        "id": "w-3",
        "status": "read",
        "timestamp": "1760000000",
        "recipient_id": f"{number('group')}-1@g.us",
        "viewer_id": f"{number('viewer')}@s.whatsapp.net",
    }
    return [
        *(("smsmanager", _json([_sms(canaries, id_, to)])) for id_, to in _STATUSES),
        ("smsmanager", _json([reply])),
        ("smsmanager", _json([{**_sms(canaries, "m-3", "lost"), "gateway": None}])),
        (f"smsmanager/x?q={word('query')}", b"not JSON: " + word("half a body").encode()),
        ("whapi", _json({"messages": [message], "channel_id": "TITMSE"})),
        ("whapi", _json({"messages": [contact], "channel_id": "TITMSE"})),
        ("whapi", _json({"statuses": [seen], "channel_id": "TITMSE"})),
    ]


def _sms(canaries: Canaries, id_: str, recipient: str) -> dict[str, object]:
    return {
        "request_id": "r",
        "message_id": id_,
        "gateway": "sms",
        "type": "outgoing",
        "result": "sent",
        "timestamp": 1_760_000_000,
        "to": {"phone_number": canaries.number(recipient)},
        "payload": {"own": canaries.word("payload")},
        "result_info": f"[3] no route to +{canaries.number(recipient)}",
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()

"""The errors that users see: one sentence, an exit code, no traceback."""

import json
import socket

import pytest

from cli.processes import Service, running
from deploy.local_kafka.broker import free_port
from service.errors import Problem
from service.settings import Settings
from tests.e2e.commands import left_behind, run

NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ("ingest", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("normalise", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("track", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("topics check", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("topics apply", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("up", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("up --demo", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("tail statuses", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("dead-letters list", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        ("dead-letters retry", {"BLUETICK_KAFKA": NOWHERE}, f"Kafka does not answer at {NOWHERE}"),
        (
            "dead-letters list --provider acme",
            {},
            "there is no provider 'acme'; the providers ",
        ),
        ("dead-letters retry --code odd", {}, "there is no code 'odd'; the codes are: "),
        ("dead-letters list --from yesterday", {}, "'yesterday' is not a time"),
        ("dead-letters export x --from 2026-05-01T12:00", {}, "has no zone"),
        ("dead-letters list --from -1h --to -2h", {}, "is not before --to"),
        ("dead-letters show 17", {}, "'17' is not valid; write <topic>/<partition>/<offset>"),
        ("dead-letters show raw.acme/1/2", {}, "there is no topic 'raw.acme'"),
        ("dead-letters show events/1/2", {}, "holds no dead letters"),
        ("replay plan", {}, "the range has no start; give it with --from"),
        ("replay run --yes --from yesterday", {}, "'yesterday' is not a time"),
        ("replay plan --from -1h --to -2h", {}, "swap --from and --to"),
        ("replay plan --offsets 0:1-2", {}, "name it with --provider"),
        ("tail statuses --key shop", {}, "'shop' is not a message key"),
        ("diff v1 v1", {}, "v1 is named twice"),
        ("diff v1 v2 --since yesterday", {}, "'yesterday' is not a time"),
        ("archive /dev --verify --from -1h", {}, "leave out --provider, --from and --to"),
        ("archive pyproject.toml --verify", {}, "that is a file; name a directory"),
        ("archive nosuch://x --verify", {}, "name a directory, or a URL whose file system fsspec"),
        ("send all --url 127.0.0.1:8080", {}, "should look like http://127.0.0.1:8080"),
        ("parse whapi nowhere.json", {}, "name a file, or - for standard input"),
        ("spool status", {"BLUETICK_SPOOL": ""}, "BLUETICK_SPOOL '' is not valid: it is empty"),
        ("track", {"BLUETICK_NAMESPACE": "a b"}, "it is 1 to 100 of A-Z a-z 0-9 . _ -"),
        ("send all --url http://127.0.0.1:1 --messages 1", {}, "ingest does not answer"),
        ("parse acme", {}, "acme"),
        ("ingest", {"BLUETICK_PORT": "80x"}, "BLUETICK_PORT '80x' is not valid"),
        ("tail statuses", {"BLUETICK_KAFKA": "here:abc"}, "it is host:port, or several"),
        ("topics check", {"BLUETICK_CA_FILE": "nowhere.pem"}, "BLUETICK_CA_FILE"),
        ("up --port 65535", {"BLUETICK_KAFKA": NOWHERE}, "normalise cannot listen on"),
        ("ingest", {"BLUETICK_PROT": "80"}, "there is no setting BLUETICK_PROT"),
        ("ingest", {"BLUETICK_HOST": "0.0.0.0"}, "BLUETICK_SOURCES"),
        ("ingest", {"BLUETICK_SOURCES": ""}, "BLUETICK_SOURCES '' is not valid: it is empty"),
        ("up", {"BLUETICK_SOURCES": "/nowhere"}, "the sources cannot be read from /nowhere"),
        ("up --demo", {"BLUETICK_SOURCES": "/nowhere"}, "the demo sends without proof"),
        ("ingest", {"BLUETICK_SOURCES": "/nowhere"}, "the sources cannot be read from /nowhere"),
    ],
)
async def test_one_sentence(arguments: str, environment: dict[str, str], sentence: str) -> None:
    """The command ends with exit code 1 and one line that says what is wrong."""
    code, output = await run(*arguments.split(), **environment)

    assert code == 1, output
    assert "Traceback" not in output
    last = output.rstrip().splitlines()[-1]
    assert last.startswith("bluetick: "), output
    assert sentence in last


@pytest.mark.parametrize("service", ["ingest", "normalise", "track"])
async def test_the_end_of_a_service_is_json(service: str) -> None:
    """A problem is the last line of the log, with its code, and nothing else is printed."""
    environment = {"BLUETICK_KAFKA": NOWHERE, "BLUETICK_LOG_FORMAT": "json"}
    code, output = await run(
        service, "--port" if service == "ingest" else "--health-port", "0", **environment
    )

    assert code == 1
    lines = [json.loads(line) for line in output.splitlines()]
    last = lines[-1]
    assert (last["service"], last["event"]) == (service, "problem")
    assert last["code"] == ("kafka_not_ready" if service == "ingest" else "kafka_silent")
    assert last["message"].startswith(f"Kafka does not answer at {NOWHERE}")
    assert len({(line["event"], line["message"]) for line in lines}) == len(lines)


@pytest.mark.parametrize("service", ["ingest", "normalise", "track"])
async def test_missing_topics_stop_a_service(service: str, kafka: str, namespace: str) -> None:
    """A service refuses to start on a namespace without topics, and says how to create them."""
    code, output = await run(service, BLUETICK_KAFKA=kafka, BLUETICK_NAMESPACE=namespace)

    assert code == 1
    assert "Traceback" not in output
    assert "does not exist" in output
    assert "bluetick topics apply" in output


@pytest.mark.parametrize("service", ["ingest", "normalise", "track"])
async def test_a_service_sends_its_problem_to_its_parent(
    service: str, kafka: str, namespace: str
) -> None:
    """The parent prints the service's sentence, and the log does not repeat it."""
    settings = Settings(kafka=kafka, namespace=namespace, replication=1, port=free_port(0))
    log: list[str] = []
    with pytest.raises(Problem) as found:
        async with running(settings, [Service(service, 1)], lambda _, line: log.append(line)):
            pass
    assert (found.value.code, found.value.fields["service"]) == ("service_ended", service)
    assert str(found.value).startswith(f"{service} ended: the topic {namespace}.")
    assert str(found.value).endswith("create it with: bluetick topics apply")
    assert not [line for line in log if line.startswith("bluetick: ")]


@pytest.mark.parametrize("service", ["ingest", "normalise", "track"])
async def test_another_partition_count_stops_a_service(service: str, settings: Settings) -> None:
    """A service refuses to start if a topic's partition count differs from its settings."""
    code, output = await run(service, **(_named(settings) | {"BLUETICK_PARTITIONS": "5"}))

    assert code == 1
    assert "Traceback" not in output
    assert "has 3 partitions, not the 5 of BLUETICK_PARTITIONS" in output


@pytest.mark.parametrize("service", ["ingest", "normalise", "track"])
async def test_a_port_in_use_stops_a_service(service: str, settings: Settings) -> None:
    """A service whose port is taken names the address and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        option = "--port" if service == "ingest" else "--health-port"
        code, output = await run(service, option, port, **_named(settings))

    assert code == 1
    assert "Traceback" not in output
    assert f"cannot listen on 127.0.0.1:{port}" in output


async def test_a_health_address_of_another_machine_is_reported(settings: Settings) -> None:
    """The sentence names both settings of the health address."""
    for service, setting in (
        ("ingest", "BLUETICK_INGEST_METRICS_PORT"),
        ("track", "BLUETICK_TRACK_HEALTH_PORT"),
    ):
        code, output = await run(service, **_named(settings), BLUETICK_HEALTH_HOST="192.0.2.1")
        assert (code, "Traceback" in output) == (1, False)
        assert f"{service} cannot listen on 192.0.2.1:" in output
        assert f"choose another address with BLUETICK_HEALTH_HOST and {setting}" in output


async def test_up_on_a_port_in_use_starts_nothing(settings: Settings) -> None:
    """`up` checks its ports first, and starts nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output = await run("up", "--port", port, **_named(settings))

    assert code == 1
    assert f"ingest cannot listen on 127.0.0.1:{port}" in output
    assert left_behind(settings.namespace) == {}


async def test_topics_are_checked_and_created(kafka: str, namespace: str) -> None:
    """`topics check` names a missing topic, `apply` creates it, and `check` returns 0."""
    named = {"BLUETICK_KAFKA": kafka, "BLUETICK_NAMESPACE": namespace}

    code, output = await run("topics", "check", **named)
    assert (code, "does not exist" in output) == (1, True)
    code, output = await run("topics", "apply", **named)
    assert (code, f"created {namespace}.messages" in output) == (0, True)
    code, output = await run("topics", "check", **named)
    assert (code, output.strip()) == (0, "every topic is as expected")


def _named(settings: Settings) -> dict[str, str]:
    return {
        "BLUETICK_KAFKA": settings.kafka,
        "BLUETICK_NAMESPACE": settings.namespace,
        "BLUETICK_PARTITIONS": str(settings.partitions),
    }

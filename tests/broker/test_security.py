"""Kafka with TLS, logins and ACLs: every way to log in works, and every fault has its sentence."""

import asyncio
import gc
import logging
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic

from deploy import topics
from processors.import_processor import member
from processors.runtime.group_worker import GroupWorker
from schemas.processor_list import TRACK
from schemas.rights import Operation, Right, rights
from service.errors import Problem
from service.kafka import clients
from service.kafka.admin import administering
from service.kafka.failures import reporter
from service.kafka.service_name import name_service
from service.metrics import of_every_service
from service.settings import Settings
from tests.broker.least_rights import ATTEMPTS, attempt, fill, more_work
from tests.broker.logins import SCRAM, faults, ways
from tests.broker.producing import Record, write
from tests.broker.running_ingest import Ingest, running, until
from tests.broker.secure_kafka import PASSWORD, SecureKafka, token
from tests.e2e.commands import run

# A worker that stops while it connects leaves the connection to the garbage collector: aiokafka
# does not close it.
abandons_connections = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def _collected() -> Iterator[None]:
    """Collect them within the test that ignores them."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
async def secure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecureKafka]:
    """One broker for all of these tests."""
    async with SecureKafka(tmp_path_factory.mktemp("secure")) as kafka:
        yield kafka


@pytest.fixture(scope="module")
async def users(secure: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a user for each mechanism, with rights on one topic; return a directory of tokens."""
    directory = tmp_path_factory.mktemp("tokens")
    (directory / "valid").write_text(token("holder"))
    (directory / "expired").write_text(token("holder", -100))
    await secure.add_users(["scram"])
    await secure.add_users(["scram-256"], "SCRAM-SHA-256")
    for name in ("scram", "scram-256", "plain", "holder", "client"):
        await secure.grant(f"User:{name}", [Right("topic", "any.", "Write", prefixed=True)])
        await secure.grant(f"User:{name}", [Right("topic", "any.", "Read", prefixed=True)])
    await topics.apply(secure.settings("PLAINTEXT", namespace="any", partitions=1))
    return directory


async def test_every_login_writes_and_reads(secure: SecureKafka, users: Path) -> None:
    """With TLS alone, the user is ANONYMOUS, as without it."""
    logins = ways(secure, users)
    logins["TLS"] = secure.settings("TLS", namespace="any", partitions=1)
    for name, settings in logins.items():
        topic, mark = settings.topics.statuses, secrets.token_bytes(8)
        await write(settings, [Record(topic, 0, None, mark)])
        async with clients.reading(settings, [topic]) as reader:
            [end] = (await reader.end_offsets([place := TopicPartition(topic, 0)])).values()
            reader.assign([place])
            reader.seek(place, end - 1)
            assert (await reader.getone()).value == mark, name


async def test_every_fault_has_its_sentence(secure: SecureKafka, users: Path) -> None:
    """It names the address, setting, user and remedy; only a silent Kafka is to be started."""

    async def said(settings: Settings) -> Problem:
        with pytest.raises(Problem) as refused:
            await topics.check(settings)
        return refused.value

    for name, (code, settings, words) in faults(secure, users).items():
        problem = await said(settings)
        assert (name, problem.code) == (name, code), problem
        sentence = str(problem)
        assert [word for word in (*words, settings.kafka) if word not in sentence] == [], name
        assert ("start it" in sentence) == (code == "kafka_silent")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"ca_file": "broker-key.pem"}, "ca_file_unusable"),
        (
            {"certificate_file": "client-cert.pem", "key_file": "stranger-key.pem"},
            "client_certificate_unusable",
        ),
        ({"certificate_file": "ca.pem", "key_file": "ca.pem"}, "client_certificate_unusable"),
    ],
    ids=["no CA", "another key", "no key"],
)
async def test_files_that_cannot_be_used(
    secure: SecureKafka, given: dict[str, str], code: str
) -> None:
    directory = secure.certificates.directory
    files = {name: directory / file for name, file in given.items()}
    with pytest.raises(Problem) as refused:
        await topics.check(secure.settings("MUTUAL", **files))
    assert refused.value.code == code
    assert str(directory) in str(refused.value)


async def test_an_encrypted_key_needs_its_password(secure: SecureKafka) -> None:
    """OpenSSL does not ask for one on the terminal."""
    encrypted = secure.certificates.encrypted("client", "key-password")
    with pytest.raises(Problem, match="BLUETICK_KEY_PASSWORD"):
        await topics.check(secure.settings("MUTUAL", **encrypted))


@pytest.mark.usefixtures("users")
async def test_the_command_line_logs_in_with_a_password_from_a_file(
    secure: SecureKafka, tmp_path: Path
) -> None:
    """The user of this login may read and write topics, and not read their configuration."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    code, output = await run(
        *("topics", "check"),
        BLUETICK_KAFKA=secure.address("LOGIN"),
        BLUETICK_NAMESPACE="any",
        BLUETICK_PARTITIONS="1",
        BLUETICK_SECURITY="SASL_SSL",
        BLUETICK_CA_FILE=str(secure.certificates.ca),
        BLUETICK_USERNAME="scram",
        BLUETICK_PASSWORD_FILE=str(tmp_path / "password"),
    )
    assert code == 1
    assert "denies the user scram (BLUETICK_USERNAME) the right to DescribeConfigs" in output
    assert output.count("\n") == 1


async def test_log_health_and_metric_say_the_same(
    secure: SecureKafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An ingest with a spool runs with a wrong password, and reports it in all three."""
    wrong = {**SCRAM, "password": "wrong", "spool": tmp_path / "spool", "drain": 0.05}
    given = secure.settings("LOGIN", port=0, ingest_metrics_port=0, **wrong)
    refused = "refuses the login of the user scram (BLUETICK_USERNAME) by SCRAM-SHA-512"
    async with running(given, create=False) as ingest:
        await until(partial(_reported, ingest, caplog, "password_refused", refused))


async def test_an_ingest_without_the_right_to_write_a_raw_topic_says_so(
    secure: SecureKafka,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It spools the webhooks of that provider, and reports the right in log, health and metric."""
    monkeypatch.setattr("service.kafka.service_name._command", "ingest")
    admin = secure.settings("PLAINTEXT", namespace="unwritable", partitions=1)
    await topics.apply(admin)
    needed, raw = rights("ingest", admin.topics), admin.topics.raw("whapi")
    await secure.add_users(["sender"])
    readable = [
        one._replace(operation="Describe") if (one.name, one.operation) == (raw, "Write") else one
        for one in needed
    ]
    await secure.grant("User:sender", readable)
    login = {"username": "sender", "password": PASSWORD, "spool": tmp_path / "spool"}
    ports = {"port": 0, "ingest_metrics_port": 0, "drain": 0.05}
    given = secure.settings("CLEAR", namespace="unwritable", partitions=1, **login, **ports)
    async with running(given, create=False) as ingest:
        assert (await ingest.client.post("/webhooks/whapi", content=b"{}")).status_code == 200
        denied = f"the right to Write on the topic {raw}"
        await until(partial(_reported, ingest, caplog, "topic_right_missing", denied))


async def _reported(
    ingest: Ingest, caplog: pytest.LogCaptureFixture, cause: str, words: str
) -> bool:
    """Whether log, health and metric of an ingest with a spool report a failure."""
    page = await ingest.client.get(f"http://127.0.0.1:{ingest.health_port}/metrics")
    counts = [line for line in page.text.splitlines() if f'cause="{cause}"' in line]
    warnings = "".join((await ingest.health())["warnings"])
    logged = any(
        words in record.message
        and record.levelno == logging.ERROR
        and vars(record)["event"] == "kafka_unusable"
        for record in caplog.records
    )
    return words in warnings and logged and float(counts[0].split()[-1]) > 0


@abandons_connections
@pytest.mark.usefixtures("_collected")
async def test_a_tracker_without_its_transactional_ids_says_so(
    secure: SecureKafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As an ERROR, in health and by a metric; it is not ready, tries slowly, and then goes on."""
    name_service("track")
    admin = secure.settings("PLAINTEXT", namespace="slow", partitions=1)
    await topics.apply(admin)
    needed = rights("track", admin.topics)
    ids = [one for one in needed if one.resource == "transactional-id"]
    await secure.add_users(["tracker"])
    await secure.grant("User:tracker", [one for one in needed if one not in ids])
    login = {"username": "tracker", "password": PASSWORD, "data": tmp_path, "session_timeout": 6}
    settings = secure.settings("CLEAR", namespace="slow", partitions=1, instance="one", **login)
    worker, stop = GroupWorker(TRACK, settings, member(TRACK)), asyncio.Event()
    count = of_every_service.kafka_failures.labels("transactional_id_right_missing")
    before = _value(count)
    async with reporter.reporting(settings, of_every_service.count_kafka_failure):
        working = asyncio.create_task(worker.run(stop))
        try:

            async def refused() -> bool:
                return any("denies" in one for one in worker.problems())

            await until(refused)
            said = worker.problems()
            assert "the user tracker (BLUETICK_USERNAME) the right to Write" in said[0]
            assert "on the transactional id slow.track.0" in said[0]
            assert "it is tried again each minute" in said[0]
            assert _value(count) == before + 1
            errors = [one.message for one in caplog.records if one.levelno == logging.ERROR]
            assert said[0] in errors
            assert "recovering" not in caplog.text
            async with administering(admin) as asked:
                [answer] = await asked.describe_consumer_groups(["slow.track"])
            members = [one for group in cast("Any", answer).groups for one in group[5]]
            assert [client_id for _, client_id, *_ in members] == ["slow.track.one"]
        finally:
            stop.set()
            await working
            name_service("library")


def _value(counter: Any) -> float:
    return float(counter._value.get())


@pytest.fixture(scope="module")
async def filled(secure: SecureKafka) -> Settings:
    """Return the superuser's settings of a namespace with records."""
    given = secure.settings("PLAINTEXT", namespace="rights", partitions=1, session_timeout=6)
    await fill(given)
    return given


@pytest.fixture(autouse=True)
def _named() -> Any:
    yield
    name_service("library")


async def users_without_one(
    secure: SecureKafka, command: str, needed: Sequence[Right]
) -> list[tuple[str, Right | None]]:
    """Make a user for each right, who lacks it, and one who lacks none."""
    lacks: list[Right | None] = [*needed, None]
    users = [(f"{command.replace(' ', '-')}-{n}", one) for n, one in enumerate(lacks)]
    await secure.add_users(name for name, _ in users)
    for name, lacking in users:
        await secure.grant(f"User:{name}", [one for one in needed if one != lacking])
    return users


@abandons_connections
@pytest.mark.usefixtures("_collected")
@pytest.mark.parametrize("command", ATTEMPTS)
@pytest.mark.long
async def test_a_command_needs_each_right_of_its_table_and_no_other(
    secure: SecureKafka, filled: Settings, command: str, tmp_path: Path
) -> None:
    """Without one of them, a sentence names the user, the operation and the resource."""
    name_service(command.split(maxsplit=1)[0])
    given = filled.model_dump(include={"namespace", "partitions", "session_timeout"})
    wrong = []
    for n, (user, lacks) in enumerate(
        await users_without_one(secure, command, rights(command, filled.topics))
    ):
        login = {"username": user, "password": PASSWORD, "data": tmp_path / f"data-{n}"}
        settings = secure.settings("CLEAR", **given, **login)
        await more_work(filled, command, n)
        said = await attempt(command, settings, tmp_path / f"archive-{n}")
        expected = () if lacks is None else (f"user {user} ", lacks.operation, lacks.name)
        if bool(said) != bool(expected) or not all(word in said for word in expected):
            wrong.append((lacks, said))
    assert wrong == []


@pytest.mark.parametrize("operation", ["Describe", "Create", "AlterConfigs", None])
async def test_topics_apply_creates_and_configures_with_its_rights(
    secure: SecureKafka, operation: Operation | None
) -> None:
    """A topic that exists gets its configuration, the others are created."""
    given = {"namespace": f"apply-{operation}", "partitions": 1}
    admin = secure.settings("PLAINTEXT", **given)
    topic, user = admin.topics.observations, f"apply-{operation}"
    if operation != "Create":
        async with administering(admin) as asked:
            await asked.create_topics([NewTopic(topic, 1, 1)])
    needed = rights("topics apply", admin.topics)
    await secure.add_users([user])
    await secure.grant(f"User:{user}", [r for r in needed if r[1:3] != (topic, operation)])
    if operation == "AlterConfigs":  # which includes it
        await secure.grant(f"User:{user}", [Right("topic", topic, "DescribeConfigs")])
    applied = topics.apply(secure.settings("CLEAR", **given, username=user, password=PASSWORD))
    if operation is None:
        assert any(line.startswith("set ") for line in await applied)
        return
    with pytest.raises(Problem, match=f"user {user} .* the right to {operation} on .* {topic};"):
        await applied


async def test_a_rebuild_works_with_its_rights(
    secure: SecureKafka, filled: Settings, tmp_path: Path
) -> None:
    """It makes topics and runs both processors: their rights are tried one by one above."""
    await secure.add_users(["rebuild"])
    of_new = filled.of("rebuilt").model_copy(update={"raw_namespace": filled.namespace})
    await secure.grant("User:rebuild", rights("rebuild", of_new.topics))
    code, output = await run(
        *("rebuild", "--into", "rebuilt", "--until-present"),
        BLUETICK_KAFKA=secure.address("CLEAR"),
        BLUETICK_NAMESPACE=filled.namespace,
        BLUETICK_PARTITIONS="1",
        BLUETICK_SECURITY="SASL_PLAINTEXT",
        BLUETICK_USERNAME="rebuild",
        BLUETICK_PASSWORD=PASSWORD,
        BLUETICK_DATA=str(tmp_path),
    )
    assert (code, "caught up" in output) == (0, True), output

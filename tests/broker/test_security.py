"""Kafka with TLS, logins and ACLs: every way to log in works, and every fault has its sentence."""

import asyncio
import logging
import secrets
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from deploy import topics
from processors.loader import member
from processors.runtime import metrics
from processors.runtime.group_worker import GroupWorker
from schemas.processors import TRACK
from schemas.rights import Right, rights
from service.errors import Problem
from service.kafka import clients
from service.kafka.admin import administering
from service.kafka.failures import reporter
from service.kafka.service_name import name_service
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.running_ingest import running, until
from tests.broker.secure_kafka import PASSWORD, SecureKafka, token

SECONDS = 30
SCRAM: dict[str, Any] = {"username": "scram", "password": PASSWORD}
TOKEN: dict[str, Any] = {"sasl_mechanism": "OAUTHBEARER"}


@pytest.fixture(scope="module")
async def users(secure: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a user for each mechanism, with rights on one topic; return a directory of tokens."""
    directory = tmp_path_factory.mktemp("tokens")
    (directory / "valid").write_text(token("holder"))
    (directory / "expired").write_text(token("holder", -100))
    await secure.add_users(["scram"])
    await secure.add_users(["scram-256"], "SCRAM-SHA-256")
    for name in ("scram", "scram-256", "plain", "holder", "CN=client"):
        await secure.grant(f"User:{name}", [Right("topic", "any.", "Write", prefixed=True)])
        await secure.grant(f"User:{name}", [Right("topic", "any.", "Read", prefixed=True)])
    await topics.apply(secure.settings("PLAINTEXT", namespace="any", partitions=1))
    return directory


def ways(secure: SecureKafka, users: Path) -> dict[str, Settings]:
    """Return settings for each way to log in."""
    encrypted = secure.certificates.encrypted("client", "key-password")
    plain = {"sasl_mechanism": "PLAIN", "username": "plain", "password": PASSWORD}
    scram_256 = {"sasl_mechanism": "SCRAM-SHA-256", **SCRAM, "username": "scram-256"}
    command = f"cat {users / 'valid'}"
    logins: dict[str, tuple[str, dict[str, Any]]] = {
        "mutual TLS": ("MUTUAL", dict(secure.certificates.cert("client"))),
        "mutual TLS, encrypted key": ("MUTUAL", {**encrypted, "key_password": "key-password"}),
        "PLAIN": ("LOGIN", plain),
        "SCRAM-SHA-256": ("LOGIN", scram_256),
        "SCRAM-SHA-512": ("LOGIN", SCRAM),
        "SCRAM-SHA-512 without TLS": ("CLEAR", SCRAM),
        "token from a file": ("TOKEN", {**TOKEN, "token_file": users / "valid"}),
        "token from a command": ("TOKEN", {**TOKEN, "token_command": command}),
        "nothing": ("PLAINTEXT", {}),
    }
    return {
        name: secure.settings(listener, namespace="any", partitions=1, **given)
        for name, (listener, given) in logins.items()
    }


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


def faults(secure: SecureKafka, users: Path) -> dict[str, tuple[str, Settings, tuple[str, ...]]]:
    """Return, by name, the code of a fault, its settings, and words of its sentence."""
    one, of = secure.certificates, secure.settings
    no_tls = {"ca_file": None}
    user = ("user scram (BLUETICK_USERNAME)",)
    return {
        "wrong password": (
            "kafka_password_refused",
            of("LOGIN", **{**SCRAM, "password": "wrong"}),
            (*user, "BLUETICK_PASSWORD", "SCRAM-SHA-512"),
        ),
        "credentials of another mechanism": (
            "kafka_password_refused",
            of("LOGIN", **SCRAM, sasl_mechanism="SCRAM-SHA-256"),
            (*user, "no SCRAM-SHA-256 credentials"),
        ),
        "mechanism that the broker lacks": (
            "kafka_mechanism_refused",
            of("CLEAR", **SCRAM, sasl_mechanism="PLAIN"),
            ("BLUETICK_SASL_MECHANISM=PLAIN", "offers: SCRAM-SHA-512"),
        ),
        "unknown CA": (
            "kafka_ca_unknown",
            of("TLS", ca_file=one.other_ca),
            ("not signed by a CA in BLUETICK_CA_FILE",),
        ),
        "CA of no file": (
            "kafka_ca_unknown",
            of("TLS", **no_tls),
            ("the system's CA certificates", "BLUETICK_CA_FILE"),
        ),
        "expired certificate": ("kafka_certificate_expired", of("EXPIRED"), ("has expired",)),
        "other host name": ("kafka_host_name_wrong", of("NAMED"), ("another host name",)),
        "no TLS on a port of TLS": (
            "kafka_tls_missing",
            of("TLS", security="PLAINTEXT", **no_tls),
            ("BLUETICK_SECURITY=PLAINTEXT", "set it to SSL"),
        ),
        "login without TLS on a port of TLS": (
            "kafka_tls_missing",
            of("LOGIN", security="SASL_PLAINTEXT", **no_tls, **SCRAM),
            ("set it to SASL_SSL",),
        ),
        "TLS on a port without": (
            "kafka_tls_unexpected",
            of("CLEAR", security="SASL_SSL", ca_file=one.ca, **SCRAM),
            ("BLUETICK_SECURITY=SASL_SSL", "set it to SASL_PLAINTEXT"),
        ),
        "no client certificate": (
            "kafka_client_certificate_refused",
            of("MUTUAL"),
            ("requires a client certificate", "BLUETICK_CERTIFICATE_FILE"),
        ),
        "client certificate of another CA": (
            "kafka_client_certificate_refused",
            of("MUTUAL", **one.cert("stranger")),
            ("refuses the client certificate in BLUETICK_CERTIFICATE_FILE",),
        ),
        "no login": (
            "kafka_sasl_missing",
            of("LOGIN", security="SSL"),
            ("BLUETICK_SECURITY=SSL", "BLUETICK_USERNAME"),
        ),
        "login on a port without": (
            "kafka_sasl_unexpected",
            of("TLS", security="SASL_SSL", **SCRAM),
            (*user, "BLUETICK_SECURITY=SASL_SSL"),
        ),
        "expired token": (
            "kafka_token_refused",
            of("TOKEN", **TOKEN, token_file=users / "expired"),
            ("BLUETICK_TOKEN_FILE", "expired"),
        ),
        "no token": (
            "kafka_token_unavailable",
            of("TOKEN", **TOKEN, token_command="false"),
            ("BLUETICK_TOKEN_COMMAND", "exit code 1"),
        ),
        "no such host": (
            "kafka_host_unknown",
            of("TLS", kafka="nowhere.invalid:9092"),
            ("nowhere.invalid:9092 (BLUETICK_KAFKA)",),
        ),
        "no broker": (
            "kafka_silent",
            of("TLS", kafka="127.0.0.1:9"),
            ("127.0.0.1:9 (BLUETICK_KAFKA)", "start it"),
        ),
    }


async def test_every_fault_has_its_sentence(secure: SecureKafka, users: Path) -> None:
    """It names the address, the setting, the user and the remedy; only a silent Kafka is to start."""

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
        assert "wrong" not in sentence.replace("is wrong, or this user", "")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"ca_file": "broker-key.pem"}, "ca_file_unusable"),
        ({"certificate_file": "client-cert.pem", "key_file": "stranger-key.pem"}, None),
        ({"certificate_file": "ca.pem", "key_file": "ca.pem"}, None),
    ],
    ids=["no CA", "another key", "no key"],
)
async def test_files_that_cannot_be_used(
    secure: SecureKafka, given: dict[str, str], code: str | None
) -> None:
    directory = secure.certificates.directory
    files = {name: directory / file for name, file in given.items()}
    with pytest.raises(Problem) as refused:
        await topics.check(secure.settings("MUTUAL", **files))
    assert refused.value.code == code or "client_certificate_unusable"
    assert str(directory) in str(refused.value)


async def test_an_encrypted_key_needs_its_password(secure: SecureKafka) -> None:
    """OpenSSL does not ask for one on the terminal."""
    encrypted = secure.certificates.encrypted("client", "key-password")
    with pytest.raises(Problem, match="BLUETICK_KEY_PASSWORD"):
        await topics.check(secure.settings("MUTUAL", **encrypted))


async def test_log_health_and_metric_say_the_same(
    secure: SecureKafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An ingest with a spool runs with a wrong password, and reports it in all three."""
    wrong = {**SCRAM, "password": "wrong", "spool": tmp_path / "spool", "drain": 0.05}
    given = secure.settings("LOGIN", port=0, ingest_metrics_port=0, **wrong)
    refused = "refuses the login of the user scram (BLUETICK_USERNAME) by SCRAM-SHA-512"
    async with running(given, create=False) as ingest:

        async def reported() -> bool:
            page = await ingest.client.get(f"http://127.0.0.1:{ingest.health_port}/metrics")
            counts = [line for line in page.text.splitlines() if 'cause="password_refused"' in line]
            warnings = "".join((await ingest.health())["warnings"])
            logged = any(
                refused in record.message and record.levelno == logging.ERROR
                for record in caplog.records
            )
            return refused in warnings and logged and float(counts[0].split()[-1]) > 0

        await until(reported)


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
    count = metrics.kafka_failures.labels("transactional_id_right_missing")
    before = _value(count)
    async with reporter.reporting(settings, metrics.note_kafka_failure):
        working = asyncio.create_task(worker.run(stop))
        try:
            async with asyncio.timeout(SECONDS):
                while not (said := [one for one in worker.problems() if "denies" in one]):
                    await asyncio.sleep(0.02)
            assert "the user tracker (BLUETICK_USERNAME) the right to Write" in said[0]
            assert "on the transactional id slow.track.0" in said[0]
            assert "it is tried again each minute" in said[0]
            assert _value(count) == before + 1
            errors = [one.message for one in caplog.records if one.levelno == logging.ERROR]
            assert said[0] in errors
            assert "recovering" not in caplog.text
            async with administering(admin) as asked:
                [answer] = await asked.describe_consumer_groups(["slow.track"])
            assert [member_[2] for group in answer.groups for member_ in group[5]] == [
                "slow.track.one"
            ]
        finally:
            stop.set()
            await working
            name_service("library")


def _value(counter: Any) -> float:
    return float(counter._value.get())

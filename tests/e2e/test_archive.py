"""Archives by the real command line: written, deleted from Kafka, replayed; and all errors."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from cli.processes import Service, running
from processors.archive.reader import opened
from processors.normalising.body_normaliser import Bodies
from processors.runtime import log_ranges
from processors.runtime.offset_ranges import Window
from processors.runtime.raw_record import RawRecord
from schemas.codec import encode
from schemas.records import record_keys
from service.settings import Settings
from tests import HOME
from tests.broker.producing import write
from tests.broker.reading import read
from tests.broker.test_replay import NOW, bluetick, bodies, everything_is_right, raw
from tests.oracle.expected import expect_outputs, observations_in_order


@pytest.fixture
async def received(settings: Settings) -> Settings:
    """A few hundred bodies on the raw topics."""
    await write(settings, bodies(settings, 7, 60))
    return settings


async def raw_records(settings: Settings) -> list[RawRecord]:
    wanted = await log_ranges.by_time(settings, settings.topics.raw_topics, Window())
    return [
        record._replace(headers=list(record.headers))
        async for batch in log_ranges.read(settings, wanted)
        for record in batch.records
    ]


async def forget(settings: Settings) -> None:
    """Kafka deletes all bodies, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    topics = settings.topics.raw_topics
    places = [TopicPartition(t, number) for t in topics for number in range(settings.partitions)]
    await admin.delete_records(dict.fromkeys(places, RecordsToDelete(-1)))
    await admin.close()


def observations_of(settings: Settings, records: list[RawRecord]) -> Counter[tuple[str, bytes]]:
    """Return the observations that a live normaliser would publish."""
    return Counter(
        (key, encode(observation))
        for record in records
        for observation in Bodies(settings).normalised(record).observations
        for key in record_keys(observation)
    )


@pytest.mark.long
async def test_what_kafka_forgot_is_replayed(received: Settings, tmp_path: Path) -> None:
    """Archived, deleted from Kafka, replayed: the same observations and then the same statuses.

    The replay is killed midway, and resumes by its id alone: the URL is stored with it.
    """
    url = f"file://{tmp_path}/kept"
    records, expected = await raw_records(received), await raw(received)
    code, output = await bluetick(received, "archive", url)
    assert code == 0, output
    await forget(received)

    begin = ("replay", "run", "--yes", "--id", "r", "--archive", url, "--from", "oldest")
    killed = await bluetick(
        received, *begin, "--rate", "500", BLUETICK_FAILPOINT="replay.before_commit=kill@3"
    )
    assert killed[0] == -signal.SIGKILL, killed[1]
    code, output = await bluetick(received, "replay", "run", "--yes", "--id", "r", "--rate", "0")
    assert code == 0, output

    published = await read(received.kafka, received.topics.observations)
    found = {(one.key, one.value.replace(b',"replay":"r"', b"")) for one in published}
    assert found == set(observations_of(received, records))
    service = Service("track", received.health_port("track"))
    async with running(received, [service], lambda *_: None):
        code, output = await bluetick(received, "replay", "report", "r", "--wait", "30", "--json")
    assert (code, json.loads(output)["tracker_behind"]) == (0, 0), output
    observations = observations_in_order(received.topics, expected)
    facts = expect_outputs(observations, NOW).all("statuses")
    statuses = await read(received.kafka, received.topics.statuses)
    assert {(one.key, one.headers["ce_id"].decode()) for one in statuses} == {
        (key, published.ce_id) for key, published in facts
    }
    await everything_is_right(received)


@pytest.mark.parametrize("failpoint", ["before_rename=kill@2", "before_manifest=kill"])
async def test_a_killed_run_is_done_again(
    received: Settings, tmp_path: Path, failpoint: str
) -> None:
    """A partly written file does not count, and the next run archives everything."""
    url = str(tmp_path / "kept")
    code, output = await bluetick(
        received, "archive", url, BLUETICK_FAILPOINT=f"archive.{failpoint}"
    )
    assert code == -signal.SIGKILL, output
    code, output = await bluetick(received, "archive", url)
    assert code == 0, output
    code, output = await bluetick(received, "archive", url, "--verify")

    assert code == 0, output
    assert "every checksum is right" in output
    archive = await opened(url)
    wanted = archive.by_time(received.topics.raw_topics, Window())
    found = [record async for batch in archive.read(wanted) for record in batch.records]
    assert sorted(found, key=_place) == sorted(await raw_records(received), key=_place)


def _place(record: RawRecord) -> tuple[str, int, int]:
    return record[:3]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _below(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def _first(directory: Path, pattern: str) -> Path:
    return min(directory.glob(pattern))


DAMAGE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("**/*.parquet", _flip, ".parquet is damaged: its checksum is not"),
    ("_manifests/*", lambda path: path.write_text("{"), ".json is not an archive manifest"),
]


@pytest.mark.long
async def test_damage_stops_everything(received: Settings, tmp_path: Path) -> None:
    """One sentence names the file, the exit code is 1, `--verify` agrees, nothing is published."""
    code, output = await bluetick(received, "archive", str(tmp_path))
    assert code == 0, output
    replay = ("replay", "run", "--yes", "--from", "oldest", "--archive", str(tmp_path))
    for pattern, spoil, sentence in DAMAGE:
        path = _first(tmp_path, pattern)
        whole = path.read_bytes()
        spoil(path)
        for command in (replay, ("archive", str(tmp_path), "--verify")):
            code, output = await bluetick(received, *command)
            assert code == 1, output
            assert path.name in output
            assert sentence in output
            assert "Traceback" not in output
        path.write_bytes(whole)
    assert await read(received.kafka, received.topics.observations) == []


async def test_lost_bodies_end_a_run_with_exit_code_1(received: Settings, tmp_path: Path) -> None:
    """The deleted offsets are reported, once the rest is archived."""
    assert (await bluetick(received, "archive", str(tmp_path)))[0] == 0
    await write(received, bodies(received, 8, 20))
    await forget(received)
    await write(received, bodies(received, 9, 20))

    code, output = await bluetick(received, "archive", str(tmp_path))

    assert code == 1
    assert "retention deleted bodies before they were archived: the offsets" in output
    assert (await bluetick(received, "archive", str(tmp_path), "--verify"))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("archive {here} --verify", "there is no archive at file://"),
        ("archive s3://me:hidden@bucket", "holds a user, a password or a query"),
        ("archive {here} --from -1h --to -2h", "swap --from and --to"),
        ("archive {here} --verify --from -1h", "--verify checks a whole archive"),
        ("replay plan --from oldest --archive {here}", "there is no archive at file://"),
        ("replay run --yes --from oldest --archive ftp://me:hidden@host/x", "holds a user"),
    ],
)
async def test_one_sentence(
    settings: Settings, tmp_path: Path, arguments: str, sentence: str
) -> None:
    """An error is one sentence, without the secret and without a traceback."""
    code, output = await bluetick(settings, *arguments.format(here=tmp_path).split())

    assert (code, output.count("bluetick: ")) == (1, 1), output
    assert sentence in output
    assert "hidden" not in output
    assert "Traceback" not in output
    assert _below(tmp_path) == []


def test_only_archives_need_the_extra(tmp_path: Path) -> None:
    """Without pyarrow and fsspec everything else works; only archives load them."""
    program = """if True:
        import sys
        sys.modules |= {"pyarrow": None, "fsspec": None}  # importing them fails
        import bluetick, ingest.server, cli.replay.run, cli.up.up, processors.tracking.tracker
        sys.argv = ["bluetick", "archive", sys.argv[1], "--verify"]
        bluetick.main()
    """
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.splitlines() == [
        "bluetick: an archive needs pyarrow and fsspec; pip install pyarrow fsspec"
    ]

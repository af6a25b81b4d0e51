"""A repeated log line is logged once a minute, with the number of repetitions."""

import logging

import pytest

from service.log_lines import Repeats, log_to_stderr


def test_a_line_is_logged_once_a_minute_with_a_count() -> None:
    """Suppressed lines are counted; the first line of the next minute has the count."""
    repeats = Repeats(seconds=60)
    counts = [repeats.logged_before("away", now) for now in (0, 1, 59.9, 60, 61, 200)]
    assert counts == [0, None, None, 2, None, 1]


def test_other_lines_are_not_suppressed() -> None:
    """Each line has a count of its own."""
    repeats = Repeats(seconds=60)
    assert [repeats.logged_before(line, 0) for line in ("one", "two", "one")] == [0, 0, None]


def test_it_remembers_a_limited_number_of_lines() -> None:
    """A line that newer ones have displaced is logged again."""
    repeats = Repeats(seconds=60, lines=2)
    lines = ("one", "two", "three", "one")
    assert [repeats.logged_before(line, 0) for line in lines] == [0, 0, 0, 0]


def test_only_repetitive_loggers_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings of Kafka's client are logged once; other lines each time."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    try:
        log_to_stderr("INFO")
        for name in ("aiokafka.client", "processors.tracking.hanging_transactions"):
            for _ in range(3):
                logging.getLogger(name).error("Unable connect to %s", "node 1")
        logging.getLogger("ingest.delivery").info("empty")
        logging.getLogger("ingest.delivery").info("empty")
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    said = [line.split()[2].rstrip(":") for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "aiokafka.client",
        *["processors.tracking.hanging_transactions"] * 3,
        *["ingest.delivery"] * 2,
    ]

"""A line that comes again and again is said once a minute, with how often it came."""

import logging

import pytest

from service.log_lines import Repeats, log_to_stderr


def test_a_line_is_said_once_a_minute_with_a_count() -> None:
    """What came in between is counted; the next minute begins with the line that says so."""
    repeats = Repeats(seconds=60)
    heard = [repeats.heard("away", now) for now in (0, 1, 59.9, 60, 61, 200)]
    assert heard == [0, None, None, 2, None, 1]


def test_other_lines_are_not_held_back() -> None:
    """Each line has a count of its own."""
    repeats = Repeats(seconds=60)
    assert [repeats.heard(line, 0) for line in ("one", "two", "one")] == [0, 0, None]


def test_it_remembers_only_so_many_lines() -> None:
    """A line forgotten for newer ones is simply said again."""
    repeats = Repeats(seconds=60, lines=2)
    assert [repeats.heard(line, 0) for line in ("one", "two", "three", "one")] == [0, 0, 0, 0]


def test_only_those_who_repeat_themselves_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings of Kafka's client are said once; others, and what is no warning, each time."""
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

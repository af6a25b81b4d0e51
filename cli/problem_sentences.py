"""The command line's own sentences for a `Problem`, where they name an option.

A `CommandProblem` has its sentence where a command reads its options. A code of the core has a
sentence here if that names an option; all others are in service/problem_sentences.py.
"""

from collections.abc import Mapping
from typing import Any

from service.errors import Problem
from service.problem_sentences import Message, sentence


def _port_refused(
    *, service: str, host: str, port: int, why: str, options: str = "--kafka-port"
) -> str:
    return (
        f"{service} cannot listen on {host}:{port} ({why}); stop what uses that port, or choose "
        f"another one with {options}"
    )


MESSAGES: Mapping[str, Message] = {
    "archive_begins_after": (
        "the archive does not reach back to {since}: {partition} begins with offset {offset}; "
        "begin at {first} or later, or give --offsets"
    ),
    "archive_ends_before": (
        "the archive ends before {until}: its last body was received at {last}; leave out --to if"
        " the archive is complete up to there, or archive the newer bodies first"
    ),
    "archive_hole": (
        "the archive has a hole: {partition} lacks the offsets {offsets}; archive them while Kafka "
        "has them, or leave them out with --offsets; {held}"
    ),
    "data_in_use": (
        "the data directory {directory} belongs to a running Kafka (process {owner}); stop that "
        "process, or name another directory with --data (BLUETICK_DATA)"
    ),
    "data_not_writable": (
        "the data directory {directory} cannot be written ({why}); make it writable, or name "
        "another one with --data (BLUETICK_DATA)"
    ),
    "port_refused": _port_refused,
    "range_backwards": (
        "the range begins at {since}, which is not before its end, {until}; swap --from and --to"
    ),
    "range_before_log": (
        "the log no longer holds everything since {since}; begin at {oldest} or later, or give "
        "--offsets; {held}"
    ),
    "replay_note_too_long": (
        "--only, --archive and --source are together too long to be stored with the progress; "
        "shorten one of them"
    ),
    "source_unheard": (
        "no body in that range was received from the source {source}; correct --source: its "
        "bodies are from {sources}"
    ),
}


def worded(problem: Problem) -> str:
    """Return the sentence that the command line prints for a problem."""
    if problem.code in MESSAGES:
        return sentence(problem.code, problem.fields, MESSAGES)
    return str(problem)


class CommandProblem(Problem):
    """Input that a command refuses; the sentence names its options."""

    def __init__(self, code: str, words: str, /, **fields: Any) -> None:
        super().__init__(code, **fields)
        self._words = words

    def __str__(self) -> str:
        return sentence(self.code, self.fields, {self.code: self._words})

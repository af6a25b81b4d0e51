"""What a `Problem` is in the words of the command line: where it is about what was typed.

What a command itself refuses is worded where its options are read (`CommandProblem`). For a code of
the core there is a sentence here if an option's name belongs in it; all others are in
service/messages.py.
"""

from collections.abc import Mapping
from typing import Any

from service.errors import Problem
from service.messages import Message, sentence

MESSAGES: Mapping[str, Message] = {
    "archive_begins_after": (
        "the archive does not go back to {since}: {partition} begins with offset {offset}; "
        "begin at {first} or later, or name --offsets"
    ),
    "archive_ends_before": (
        "the archive does not go on to {until}: its last body was received at {last}; "
        "leave out --to if it is whole to there, or archive on first"
    ),
    "archive_hole": (
        "the archive has a hole: {partition} lacks the offsets {offsets}; archive them while Kafka "
        "has them, or leave them out with --offsets; {held}"
    ),
    "data_in_use": (
        "the data directory {directory} belongs to a running Kafka (process {owner}); stop that "
        "one, or name another directory with --data (BLUETICK_DATA)"
    ),
    "data_not_writable": (
        "the data directory {directory} cannot be written ({why}); make it writable, or name "
        "another one with --data (BLUETICK_DATA)"
    ),
    "range_backwards": (
        "the range begins at {since}, which is not before its end, {until}; swap --from and --to"
    ),
    "range_before_log": (
        "the log no longer holds everything since {since}: begin at {oldest} or later, or name "
        "--offsets; {held}"
    ),
    "replay_note_too_long": (
        "what --only, --archive and --source say is too long to be kept with the progress"
    ),
    "source_unheard": (
        "no body of that range came in by the source {source}; correct --source, there are: "
        "{sources}"
    ),
}


def worded(problem: Problem) -> str:
    """A problem in the words of the command line."""
    if problem.code in MESSAGES:
        return sentence(problem.code, problem.fields, MESSAGES)
    return str(problem)


class CommandProblem(Problem):
    """What a command refuses, in words that name its options."""

    def __init__(self, code: str, words: str, /, **fields: Any) -> None:
        super().__init__(code, **fields)
        self._words = words

    def __str__(self) -> str:
        return sentence(self.code, self.fields, {self.code: self._words})

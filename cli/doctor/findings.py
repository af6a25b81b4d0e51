"""A finding of `bluetick doctor`: its stable code, its level and its sentences. Pure.

The first sentence says what is, the second what to do.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from service.problem_sentences import Message, sentence

Level = Literal["ok", "info", "warning", "problem"]


class Finding:
    """One thing that a check has found; `fields` are JSON values."""

    def __init__(self, level: Level, code: str, /, **fields: Any) -> None:
        self.level: Level = level
        self.code = code
        self.fields = fields

    @property
    def message(self) -> str:
        """What is."""
        return sentence(self.code, self.fields, {self.code: WORDS[self.code][0]})

    @property
    def remedy(self) -> str:
        """What to do; "" if nothing is to be done."""
        return sentence(self.code, self.fields, {self.code: WORDS[self.code][1]})


def failed(findings: Sequence[Finding]) -> bool:
    """Whether one of them is a problem."""
    return any(one.level == "problem" for one in findings)


_HEALTHY = ""

WORDS: Mapping[str, tuple[Message, str]] = {
    # Every part.
    "part_failed": ("it could not be checked: {why}", _HEALTHY),
    "part_denied": (
        "not checked: {why}",
        "if it is to be checked, grant this user the rights of: bluetick topics acls doctor",
    ),
    "part_skipped": ("not checked, because the check of the broker failed", _HEALTHY),
    # Broker.
    "broker_answers": (
        "{addresses} answers: brokers {brokers}, controller {controller}",
        _HEALTHY,
    ),
    "broker_settings_unknown": (
        "the brokers' settings cannot be read: {why}",
        "grant this user DescribeConfigs on the cluster, to check them",
    ),
    "transaction_timeout_too_long": (
        (
            "broker {broker} has transaction.max.timeout.ms={found}, below "
            "BLUETICK_TRANSACTION_TIMEOUT ({seconds:g} s)"
        ),
        "raise the broker's setting, or lower BLUETICK_TRANSACTION_TIMEOUT",
    ),
    "session_timeout_refused": (
        (
            "broker {broker} has {setting}={found}, which does not allow BLUETICK_SESSION_TIMEOUT "
            "({seconds:g} s)"
        ),
        "change the broker's setting, or BLUETICK_SESSION_TIMEOUT",
    ),
    "request_timeout_short": (
        "broker {broker} has request.timeout.ms={found}",
        "raise it to at least {least}: changes of topics may fail on a busy cluster",
    ),
    "offsets_retention_short": (
        "broker {broker} has offsets.retention.minutes={found}",
        (
            "raise it to at least {least}: a group that is stopped for longer begins again at the "
            "start of the log"
        ),
    ),
    "topics_are_created_by_use": (
        "broker {broker} has auto.create.topics.enable=true",
        "set it to false: a mistyped topic would be created with the broker's defaults",
    ),
    "replicas_fewer_than_safe": (
        "brokers in the cluster: {brokers}; topics have fewer than 3 replicas",
        "use 3 brokers or more where the loss of one must lose no record",
    ),
    # Topics.
    "topics_fine": ("{topics} topics are as expected, all replicas in sync", _HEALTHY),
    "topic_missing": (
        "the topic {topic} does not exist",
        "create it with: bluetick topics apply",
    ),
    "foreign_topic_missing": (
        "the topic {topic} of another namespace does not exist",
        "correct BLUETICK_RAW_NAMESPACE or BLUETICK_OBSERVATIONS_NAMESPACE",
    ),
    "topic_not_described": (
        "this user may not describe the topic {topic}",
        "if it is to be checked, grant this user Describe on the topic",
    ),
    "topic_unavailable": (
        "Kafka answers error {error} for the topic {topic}",
        "check the brokers' log",
    ),
    "topic_partitions_differ": (
        "the topic {topic} has {found} partitions, not the {expected} of BLUETICK_PARTITIONS",
        "change that setting, or use another namespace; never repartition a topic",
    ),
    "topic_setting_differs": (
        "the topic {topic} has {setting}={found}, where {expected} is expected",
        "if it is not on purpose, set it: bluetick topics apply adds only missing settings",
    ),
    "topic_loses_records": (
        "the topic {topic} has unclean.leader.election.enable=true",
        "set it to false: a stale replica could become leader, and acknowledged records be lost",
    ),
    "partition_without_leader": (
        "partitions have no leader: {places}",
        "start the brokers that hold their replicas",
    ),
    "partition_below_min_isr": (
        "partitions have fewer replicas in sync than min.insync.replicas: {places}",
        "start the missing brokers; until then Kafka refuses writes",
    ),
    "partition_under_replicated": (
        "partitions have replicas that are not in sync: {places}",
        "start the missing brokers, or wait until they have caught up",
    ),
    # Rights.
    "rights_fine": ("this user has the rights of {services}", _HEALTHY),
    "rights_unknown": ("the broker does not say what this user may do", _HEALTHY),
    "rights_lacking": (
        "this user cannot run {service}: it lacks {rights}",
        "grant these rights to the user of {service}",
    ),
    # Webhooks.
    "ingest_ready": ("ingest is ready: {address}", _HEALTHY),
    "ingest_no_answer": (
        "ingest does not answer at {address}: {why}",
        "if it is to run on this machine, start: bluetick ingest",
    ),
    "ingest_not_ready": (
        "ingest refuses webhooks: {why}",
        "correct this first: senders get 503, and some give up",
    ),
    "ingest_degraded": (
        "ingest is degraded: {why}",
        "restore Kafka before the spool is full; past its bounds ingest answers 503",
    ),
    "webhooks_arrive": ("{provider}: last webhook {age} ago", _HEALTHY),
    "webhooks_silent": ("{provider}: no webhook for {age}", _HEALTHY),
    "webhooks_stopped": (
        "{provider}: no webhook for {age}; {day_before} came at this hour of the day before",
        "follow docs/alerts.md, BluetickSourceSilent",
    ),
    "webhooks_none": ("{provider}: Kafka holds no webhook", _HEALTHY),
    # Groups.
    "group_fine": ("{group}: members {members}, lag {lag}", _HEALTHY),
    "group_not_described": (
        "this user may not describe the group {group}",
        "if it is to be checked, grant this user Describe on the group",
    ),
    "group_without_members": (
        "no worker of {group} runs; records to read: {lag}",
        "start: bluetick {processor}",
    ),
    "group_rebalancing": (
        "the group {group} is rebalancing (state {state})",
        "wait; if it goes on, its workers restart or lose their sessions: see their logs",
    ),
    "group_partition_without_owner": (
        "no member of {group} has the partitions {places}",
        "restart its workers; if that does not help, see their logs",
    ),
    "group_idle_members": (
        "{group} has {members} members for {partitions} partitions of a topic",
        "stop some: the others take the partitions only when one ends",
    ),
    "group_lagging": (
        "{group} is {lag} records behind; the oldest waits for {seconds:.0f} s",
        "see its log and health; if it keeps up with its work, start more workers",
    ),
    "group_overtaken": (
        "retention deleted records before {group} read them: {places}",
        "follow docs/operations.md, A gap in the log",
    ),
    "group_beyond_log": (
        "{group} has committed offsets beyond the end of {places}",
        "the topic was created again, or Kafka lost records: docs/operations.md, A gap in the log",
    ),
    # Clocks.
    "clock_fine": ("this machine's clock differs from Kafka's by {offset:.2f} s", _HEALTHY),
    "clock_differs": (
        "this machine's clock differs from Kafka's by {offset:.1f} s",
        "synchronise all machines, including the brokers, by NTP",
    ),
    "clock_not_compared": (
        "the clocks cannot be compared: {why}",
        "run: bluetick topics apply; with ACLs, grant Describe and Write on the topic of clocks",
    ),
    # Spool and disk.
    "spool_unset": ("there is no spool (BLUETICK_SPOOL): ingest answers 503 without Kafka", ""),
    "spool_fine": ("{directory}: {slots} slots, {bodies} bodies", _HEALTHY),
    "spool_slot_unreadable": (
        "slot {slot} of the spool cannot be read: {why}",
        "run this as the user that ingest runs as",
    ),
    "spool_slot_damaged": (
        "slot {slot} has damaged files: {files}",
        "inspect them, and delete those that end in salvaged: bluetick spool export copies them",
    ),
    "spool_slot_left": (
        "slot {slot} holds {bodies} bodies, and no ingest uses it",
        "send them: bluetick spool drain",
    ),
    "spool_filling": (
        "slot {slot} has used {share:.0%} of {setting}",
        "restore Kafka, or raise the bound; past it ingest answers 503",
    ),
    "disk_fine": ("{directory}: {free} free", _HEALTHY),
    "disk_full": (
        "{directory} ({setting}): {free} free, {share:.0%} of the disk",
        "free some space, or use a larger disk",
    ),
    "disk_below_bound": (
        "{directory} ({setting}): {free} free, and it may grow by {needed}",
        "use a larger disk, or lower BLUETICK_SPOOL_MAX_BYTES",
    ),
    "directory_not_writable": (
        "this user cannot write {directory} ({setting})",
        "run this as the user of the service, or correct the permissions",
    ),
    # Versions.
    "versions": (
        (
            "Bluetick {bluetick}, Python {python}, aiokafka {aiokafka}, state format "
            "{state_format}, Kafka's metadata.version {metadata}"
        ),
        _HEALTHY,
    ),
    "kafka_older_than_tested": (
        "Kafka's metadata.version is {found}; Bluetick is tested with {tested} (Kafka {version})",
        "upgrade Kafka, and finalize its features",
    ),
    "state_format_newer": (
        (
            "partition {partition} of messages has states of format {found}; this version reads "
            "up to {known}"
        ),
        "use the version of Bluetick that wrote them, or a later one",
    ),
}

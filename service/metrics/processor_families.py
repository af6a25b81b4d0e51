"""The metrics of the processors: of each of them, of several, and of one. Pure."""

from typing import get_args

from providers import NAMES
from providers.rejection import Code
from schemas.records import Status
from service.metrics.family import Label, counter, gauge, histogram
from service.metrics.labels import (
    CHANNELS,
    EVENTS,
    OTHER,
    OUTCOMES,
    RECOVERIES,
    UNKNOWN_PROVIDER,
)

_PROVIDER = Label("provider", NAMES)
_TRACKED_PROVIDER = Label("provider", (*NAMES, UNKNOWN_PROVIDER))
_TOPIC = Label("topic", bound="the input topics of the service")
_PARTITION = Label("partition", bound="numbers below `BLUETICK_PARTITIONS`, while assigned here")

_COMMITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
_BATCHES = (0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 4000.0)
_DELAYS = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    *(300.0, 900.0, 3600.0, 21_600.0, 86_400.0),
)

OF_EVERY_PROCESSOR = (
    gauge(
        "bluetick_partitions_assigned",
        "partitions",
        "partitions of the inputs that the group has assigned to this process",
    ),
    gauge(
        "bluetick_partition_ready",
        "",
        "1 if the assigned partition is processed; 0 while it is restored, recovers or is stopped",
        _TOPIC,
        _PARTITION,
    ),
    gauge(
        "bluetick_partition_stopped",
        "",
        "1 if a partition of the inputs cannot go on and is tried again each minute",
        _TOPIC,
        _PARTITION,
    ),
    counter(
        "bluetick_rebalances_total",
        "rebalances",
        "assignments of partitions by the group, with the one after the start",
    ),
    gauge(
        "bluetick_last_rebalance_timestamp_seconds",
        "seconds",
        "time of the last assignment of partitions, Unix time; 0 before the first",
    ),
    gauge(
        "bluetick_lag_records",
        "records",
        "records of an assigned partition that are not processed and committed yet",
        _TOPIC,
        _PARTITION,
    ),
    gauge(
        "bluetick_lag_seconds",
        "seconds",
        "age of the oldest record of an assigned partition that is not processed and committed "
        "yet; 0 if there is none",
        _TOPIC,
        _PARTITION,
    ),
    histogram(
        "bluetick_commit_seconds",
        "seconds",
        "duration of a commit: of the offsets of a round (normalise), or of a transaction after "
        "its last record (track, measure)",
        buckets=_COMMITS,
    ),
)

OF_NORMALISE_AND_TRACK = (
    counter(
        "bluetick_dead_letters_total",
        "records",
        "dead letters written: bodies or items (normalise), or observations (track)",
        _TRACKED_PROVIDER,
        Label("code", get_args(Code)),
    ),
)

OF_NORMALISE = (
    counter(
        "bluetick_webhooks_total",
        "bodies",
        "raw bodies normalised (bluetick_ingest_received_total counts the requests)",
        _PROVIDER,
    ),
    counter(
        "bluetick_items_total",
        "items",
        "items of bodies: each is an observation, a dead letter or ignored; a body that is kept "
        "whole, and all further bad items of a body together, are one item",
        _PROVIDER,
    ),
    counter(
        "bluetick_observations_total",
        "observations",
        "observations published, by status, or `inbound` for an inbound message; status `unknown` "
        "is a word that the provider's table lacks",
        _PROVIDER,
        Label("status", (*get_args(Status), "inbound")),
    ),
    counter(
        "bluetick_ignored_events_total",
        "items",
        "items without a message status, by the provider's word for the event",
        _PROVIDER,
        Label("event", bound=f"the first 100 words without digits; then `{OTHER}`"),
    ),
    counter(
        "bluetick_unread_fields_total",
        "fields",
        "fields left out because they cannot be read, and fields left out or cut by a bound",
        _PROVIDER,
        Label("field", bound="the names of the fields that the parsers read"),
    ),
    counter(
        "bluetick_foreign_account_total",
        "items",
        "items that name an account that their source does not have",
        Label("source", bound=f"the first 1000 sources of raw bodies; then `{OTHER}`"),
    ),
    gauge(
        "bluetick_dead_letter_stopped",
        "sources",
        "sources of a provider that are stopped: too many of their bodies became dead letters",
        _PROVIDER,
    ),
    counter(
        "bluetick_failed_rounds_total",
        "rounds",
        "rounds (read, normalise, write, commit) that failed and were repeated",
    ),
)

OF_TRACK_AND_MEASURE = (
    counter(
        "bluetick_transactions_total",
        "transactions",
        "transactions: committed, or failed (and then repeated)",
        Label("outcome", ("committed", "failed")),
    ),
    histogram(
        "bluetick_batch_records",
        "records",
        "input records in a committed transaction; 0 for timers, or deletions, alone",
        buckets=_BATCHES,
    ),
    histogram(
        "bluetick_transaction_seconds",
        "seconds",
        "duration of a committed transaction, from its begin to the end of its commit",
        buckets=_COMMITS,
    ),
    gauge(
        "bluetick_transaction_age_seconds",
        "seconds",
        "time since the oldest open transaction of this process began; 0 if none is open",
    ),
    counter(
        "bluetick_recoveries_total",
        "recoveries",
        "recoveries of a partition after an error, by cause; `stopped`: an attempt to continue a "
        "stopped partition",
        Label("cause", RECOVERIES),
    ),
    counter(
        "bluetick_restored_states_total",
        "records",
        "records of the changelog read to restore stores",
    ),
    gauge(
        "bluetick_restore_left_records",
        "records",
        "records of the changelog that the restore of a partition still has to read",
        _PARTITION,
    ),
    gauge(
        "bluetick_restore_records",
        "records",
        "records of the changelog that the restore of a partition has to read in total; 0 if none "
        "is under way",
        _PARTITION,
    ),
    gauge(
        "bluetick_restore_seconds",
        "seconds",
        "time since the restore of a partition began; 0 if none is under way",
        _PARTITION,
    ),
    gauge(
        "bluetick_store_bytes",
        "bytes",
        "size of the stores of the ready partitions of this process, on disk",
    ),
)

OF_TRACK = (
    counter(
        "bluetick_outcomes_total",
        "observations",
        "records of observations processed, by verdict or other outcome: `replied` is the second "
        "record of a reply, under the key of the message that it answers; `repaired` is an "
        "observation that is tracked again after Kafka lost its state",
        _TRACKED_PROVIDER,
        Label("outcome", OUTCOMES),
    ),
    counter(
        "bluetick_events_total",
        "events",
        "derived events published, by type",
        Label("event", EVENTS),
    ),
    histogram(
        "bluetick_end_to_end_seconds",
        "seconds",
        "time from the reception of a body (`received_at`) to the commit of each of its "
        "observations, without replays",
        buckets=_DELAYS,
    ),
    gauge(
        "bluetick_tracked_messages",
        "messages",
        "messages with a state, in the ready partitions of this process",
        _TRACKED_PROVIDER,
    ),
    gauge(
        "bluetick_stalled_messages",
        "messages",
        "messages that count as stalled now, in the ready partitions of this process",
        _TRACKED_PROVIDER,
        Label("channel", CHANNELS),
    ),
    gauge(
        "bluetick_timers_due",
        "timers",
        "timers whose time has passed by more than `BLUETICK_TIMER_GRACE` and that have not fired; "
        "at most 1000 of each partition are counted",
    ),
)

OF_MEASURE = (
    counter(
        "bluetick_quality_changes_total",
        "changes",
        "changes of cells published: all messages of a batch that change a cell are one change",
    ),
    counter(
        "bluetick_quality_cells_total",
        "cells",
        "cells written, by minute, hour and day",
    ),
    counter(
        "bluetick_quality_past_changes_total",
        "changes",
        "changes that came after the retention of their minute (`BLUETICK_QUALITY_MINUTE_DAYS`)",
    ),
    counter(
        "bluetick_quality_unreadable_states_total",
        "states",
        "states of messages that cannot be read, and are not counted",
    ),
)

"""The rules of the tracker's protocol, each of which can be broken: the negative controls."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """True: as in the tracker. False: the rule is broken, which the simulation must notice."""

    id_by_partition: bool = True
    fence_first: bool = True
    commit_first: bool = True
    offset_inside: bool = True
    new_producer: bool = True
    look_at_deliveries: bool = True
    leave_after_loss: bool = True
    one_write: bool = True
    check_anchor: bool = True
    end_open: bool = True
    ask_elsewhere: bool = True
    epochs: bool = True
    grace: bool = True
    log_time: bool = True
    young_stores: bool = True
    answer_before: bool = True
    go_back: bool = True
    leave_out: bool = True
    keep_window: bool = True
    whole_only: bool = True


ALL = Rules()

CONTROLS = {
    "id_by_partition": "the transactional id is the worker's own",
    "fence_first": "the committed offset is read before the earlier owner is fenced",
    "commit_first": "the store is written before the commit",
    "offset_inside": "the offset is committed outside of the transaction",
    "new_producer": "the producer is used again after an error or an unknown outcome",
    "look_at_deliveries": "deliveries are not checked before the commit",
    "leave_after_loss": "the producer is kept after a connection was lost in a transaction",
    "one_write": "states and anchor are one write to the store, timers another",
    "check_anchor": "a store is trusted whose anchor's record is not in the log",
    "end_open": "a restore ends where Kafka left a transaction open",
    "ask_elsewhere": "a hanging transaction is aborted, though other parts of it were committed",
    "epochs": "records polled before a recovery are processed after it",
    "grace": "timers do not wait for records still on their way from ingest",
    "log_time": "timers follow the wall clock, though the log has unread records",
    "young_stores": "a store is trusted that lacks tombstones the log no longer has",
    "answer_before": "Kafka's newest answer counts as news of the moment it is read",
    "go_back": "observations whose states were lost are not tracked again",
    "leave_out": "visible outputs of observations tracked again are published again",
    "keep_window": "the next owner does not know that outputs are left out",
    "whole_only": "states are restored whose transaction Kafka did not commit as a whole",
}

"""The rules of the tracker's protocol, each of which can be broken: the negative controls."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """Each True as the tracker has it. One that is False must be noticed: a negative control."""

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


ALL = Rules()

CONTROLS = {
    "id_by_partition": "the transactional id is the worker's own",
    "fence_first": "the committed offset is read before the earlier owner is fenced",
    "commit_first": "the store is written before the commit",
    "offset_inside": "the offset is committed outside of the transaction",
    "new_producer": "the producer is used again after an error or an unknown outcome",
    "look_at_deliveries": "deliveries are not looked at before the commit",
    "leave_after_loss": "the producer is kept after a connection was lost in a transaction",
    "one_write": "states and anchor are one write to the store, timers another",
    "check_anchor": "a store is trusted whose anchor's record is not in the log",
    "end_open": "a restore ends where Kafka left a transaction open",
    "ask_elsewhere": "what was left open is aborted, though other parts of it were committed",
    "epochs": "records polled before a recovery are taken after it",
    "grace": "timers do not wait for what is still on its way from ingest",
    "log_time": "timers go by the wall clock, though the log has more to say",
    "young_stores": "a store is trusted that lacks tombstones the log no longer has",
    "answer_before": "Kafka's newest answer is taken for news of the moment it is read",
    "go_back": "observations are not tracked again whose states were lost",
    "leave_out": "what is tracked again is published again, though it is visible",
    "keep_window": "the next owner does not know that outputs are left out",
}

"""A batch of records to states and outputs; what cannot be read stops it, with coordinates."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from processors.tracking import reduce_batch
from processors.tracking.batch_states import Read
from processors.tracking.batch_types import Limits, Out, Reduced, Timer, Work
from processors.tracking.lifecycle import observed_status
from processors.tracking.lifecycle.verdicts import Judged
from processors.tracking.next_state import track
from processors.tracking.outputs import source_of
from processors.tracking.reduce_batch import reduce
from processors.tracking.split_transactions import output_id
from processors.tracking.standing import Standing
from processors.tracking.tracking_dead_letters import SetAside
from schemas.bounds import BOUNDS
from schemas.codec import NewerFormatError, decode_state, decode_status, decode_viewer, encode
from schemas.records import (
    STATE_VERSION,
    MessageState,
    StatusObservation,
    record_keys,
    viewer_key,
)
from tests.unit.messages import KEY, Folded, reply, seen


@dataclass
class Record:
    """What is read of a consumed record."""

    value: bytes | None
    key: bytes | None = KEY.encode()
    topic: str = "observations"
    partition: int = 3
    offset: int = 7


NOW = 100 * 24 * 3_600_000


async def reduced(
    records: Sequence[Record],
    read: Read,
    *,
    timers: Sequence[Timer] = (),
    horizon: int = 0,
) -> Reduced:
    return await reduce(Work(records, timers, NOW, horizon), read)


def nothing(keys: Sequence[str]) -> list[bytes | None]:
    return [None] * len(keys)


async def test_a_batch_gives_the_last_state_of_each_key() -> None:
    """Three observations of a message, one repeated: two facts, one state."""
    records = [Record(encode(one)) for one in (seen("sent", 1), seen("sent", 1), seen("read", 2))]

    result = await reduced(records, nothing)

    statuses = [out for out in result.outputs if out.topic == "statuses"]
    assert [decode_status(out.value).status for out in statuses] == ["sent", "read"]
    assert list(result.states) == [KEY.encode()]
    assert decode_state(result.states[KEY.encode()]).status == "read"
    assert result.counts.outcomes == {("smsmanager", "advanced"): 2, ("smsmanager", "duplicate"): 1}


async def test_nothing_new_is_nothing_to_write() -> None:
    """A batch of repeats changes no state, so none is written."""
    first = await reduced([Record(encode(seen("sent", 1)))], nothing)

    again = await reduced([Record(encode(seen("sent", 1)))], lambda _: [*first.states.values()])

    assert (again.outputs, again.states) == ([], {})


async def test_a_state_is_armed_and_its_old_timer_spent() -> None:
    """Each change of a state puts one entry into the index and takes one out."""
    queued = await reduced([Record(encode(seen("queued", 1)))], nothing)
    stored = queued.states[KEY.encode()]

    sent = await reduced([Record(encode(seen("sent", 5)))], lambda _: [stored])

    assert (queued.armed, queued.spent) == ({KEY.encode(): 1 + 600_000}, [])
    assert sent.armed == {KEY.encode(): 5 + 86_400_000}
    assert sent.spent == [Timer(1 + 600_000, KEY)]


async def test_a_timer_fires_once_and_is_armed_anew() -> None:
    """The alarm changes the state, and the next timer is the end of its life."""
    first = await reduced([Record(encode(seen("queued", 1)))], nothing)
    timer = Timer(1 + 600_000, KEY)

    fired = await reduced([], lambda _: [*first.states.values()], timers=[timer], horizon=timer.due)

    assert [out.topic for out in fired.outputs] == ["events"]
    assert fired.counts.events == {("stalled",): 1}
    assert timer in fired.spent
    assert fired.armed == {KEY.encode(): 1 + 45 * 24 * 3_600_000}
    assert decode_state(fired.states[KEY.encode()]).stalled_since == timer.due


async def test_a_void_timer_is_only_moved() -> None:
    """An entry whose message moved on fires nothing, and leaves the state's own timer behind."""
    first = await reduced([Record(encode(seen("sent", 1)))], nothing)
    void = Timer(7, KEY)

    looked = await reduced([], lambda _: [*first.states.values()], timers=[void], horizon=8)

    assert (looked.outputs, looked.states) == ([], {})
    assert looked.spent == [void]
    assert looked.armed == {KEY.encode(): 1 + 86_400_000}


async def test_records_go_before_timers() -> None:
    """A receipt that arrived in time is taken first, so that there is no false alarm."""
    first = await reduced([Record(encode(seen("queued", 1)))], nothing)

    result = await reduced(
        [Record(encode(seen("delivered", 9)))],
        lambda _: [*first.states.values()],
        timers=[Timer(1 + 600_000, KEY)],
        horizon=600_001,
    )

    assert result.counts.events == {("advanced",): 1}


async def test_the_end_of_a_life_leaves_a_tombstone() -> None:
    """An expired state is written as None, and no timer is left."""
    first = await reduced([Record(encode(seen("read", 1)))], nothing)
    timer = Timer(1 + 45 * 24 * 3_600_000, KEY)

    gone = await reduced([], lambda _: [*first.states.values()], timers=[timer], horizon=timer.due)

    assert gone.states == {KEY.encode(): None}
    assert gone.armed == {}
    assert gone.counts.events == {("forgotten",): 1}


async def test_a_timer_of_a_state_that_is_gone_is_spent() -> None:
    """An entry without a state costs a look and nothing else."""
    result = await reduced([], nothing, timers=[Timer(7, KEY)], horizon=8)

    assert (result.spent, result.states, result.outputs) == ([Timer(7, KEY)], {}, [])


async def test_no_record_is_from_the_future() -> None:
    """A sender's clock that runs ahead takes no state's life."""
    first = await reduced([Record(encode(seen("queued", NOW - 1)))], nothing)
    ahead = seen("sent", NOW, received_at=NOW + 50 * 24 * 3_600_000)

    result = await reduced([Record(encode(ahead))], lambda _: [*first.states.values()])

    assert result.counts.events == {("advanced",): 1}
    assert result.latest == NOW


@pytest.mark.parametrize(
    "record",
    [
        Record(b"not an observation"),
        Record(b'{"kind":"status"}'),
        Record(b'{"kind":"rumour"}'),
        Record(None),
        Record(encode(seen("sent", 1)), key=None),
        Record(encode(seen("sent", 1)), key=b""),
        Record(encode(seen("sent", 1)), key=b"\xff"),
        Record(encode(seen("sent", 1)), key=b"smsmanager/-/another"),
    ],
    ids=[
        "no JSON",
        "fields missing",
        "unknown kind",
        "null",
        "no key",
        "empty key",
        "not UTF-8",
        "another",
    ],
)
async def test_a_record_that_is_no_observation_is_set_aside(record: Record) -> None:
    """It is a dead letter with the coordinates of the record; other records are taken."""
    result = await reduced([record, Record(encode(seen("sent", 1)), offset=8)], nothing)

    [letter] = result.letters
    assert letter.letter.code == "not_an_observation"
    assert letter.raw == letter.observed == ("observations", 3, 7)
    assert letter.letter.value == (record.value or b"")
    assert list(result.states) == [KEY.encode()]
    assert result.taken == 2


@pytest.mark.parametrize("key", ["viewer/x/y/z", "\x00timer and more"])
async def test_a_key_that_is_no_message_key_is_refused(key: str) -> None:
    """Another program's observation must not reach a viewer's state, or the index of timers."""
    record = Record(encode(seen("sent", 1, message_key=key)), key=key.encode())

    result = await reduced([record], nothing)

    assert [one.letter.code for one in result.letters] == ["not_an_observation"]
    assert (result.states, result.taken) == ({}, 1)


async def test_a_reason_quotes_no_value() -> None:
    """The data of a sender or another program is in the dead letter's value only."""
    odd = encode(seen("sent", 1)).replace(b'"status":"sent"', b'"status":"420777123456"')

    [letter] = (await reduced([Record(odd)], nothing)).letters

    assert letter.letter.reason == "Invalid enum value - at `$.status`"


OTHER = "smsmanager/-/other"
OWN, BESIDE = seen("sent", 1), seen("sent", 2, message_key=OTHER, message_id="other")


async def test_an_unreadable_state_costs_its_own_message_alone() -> None:
    """A stored state that cannot be read is not taken for none, and stays as it was."""
    records = [Record(encode(OWN)), Record(encode(BESIDE), key=OTHER.encode(), offset=8)]

    result = await reduced(records, lambda keys: [b"{}" if k == KEY else None for k in keys])

    assert [one.letter.code for one in result.letters] == ["state_unreadable"]
    assert result.letters[0].letter.value == encode(OWN)
    assert result.letters[0].letter.pointer == "#0"
    assert list(result.states) == [OTHER.encode()]


@pytest.mark.parametrize("changed", [{}, {"status": "teleported"}, {"attempts": []}])
async def test_a_state_of_a_newer_format_stops_the_pass(changed: dict[str, Any]) -> None:
    """A newer Bluetick wrote it, whatever is in it: nothing may be set aside by an older one."""
    state = msgspec.to_builtins(replace(Folded(OWN).state, version=STATE_VERSION + 1))
    newer = encode(state | changed)

    with pytest.raises(NewerFormatError, match="newer than"):
        await reduced([Record(encode(OWN))], lambda _: [newer])


async def test_a_timer_of_an_unreadable_state_is_looked_at_later() -> None:
    """It costs a look an hour, not every look."""
    result = await reduced([], lambda _: [b"{}"], timers=[Timer(7, KEY)], horizon=8)

    assert (result.spent, result.states) == ([Timer(7, KEY)], {})
    assert result.armed == {KEY.encode(): NOW + 3_600_000}


async def test_a_mistake_of_ours_costs_one_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception sets aside the observation that raised it, and no other."""
    real = observed_status.observe

    def broken(state: MessageState, one: StatusObservation, *more: Any) -> Judged:
        if one.provider_status == "odd":
            raise ZeroDivisionError("personal")
        return real(state, one, *more)

    monkeypatch.setattr(observed_status, "observe", broken)
    odd = seen("unknown", 2, provider_status="odd")
    records = [Record(encode(one)) for one in (OWN, odd, seen("read", 3))]

    result = await reduced(records, nothing)

    [letter] = result.letters
    assert (letter.letter.code, letter.letter.value) == ("internal_error", encode(odd))
    assert "personal" not in letter.letter.reason + letter.letter.stacktrace
    assert "test_reduce_batch.broken" in letter.letter.stacktrace
    assert decode_state(result.states[KEY.encode()]).status == "read"


async def test_a_state_past_its_bound_is_set_aside_whole() -> None:
    """All observations of that message in the batch become dead letters, and nothing else of it."""
    large = replace(OWN, payload="x" * 900)
    records = [
        Record(encode(large)),
        Record(encode(BESIDE), key=OTHER.encode()),
        Record(encode(seen("read", 3))),
    ]
    work = Work(records, [], NOW, 0, bounds=BOUNDS._replace(state=800))

    result = await reduce(work, nothing)

    assert [one.letter.code for one in result.letters] == ["state_too_large"] * 2
    assert list(result.states) == [OTHER.encode()]
    assert {out.key for out in result.outputs} == {OTHER.encode()}
    assert result.taken == 3


async def test_a_message_that_is_not_wanted_is_set_aside() -> None:
    """The task names a message that Kafka does not take; the rest of the batch is as ever."""
    records = [Record(encode(OWN)), Record(encode(BESIDE), key=OTHER.encode())]

    result = await reduce(
        Work(records, [], NOW, 0), nothing, {KEY: SetAside.refused("too large", again=False)}
    )

    assert [one.letter.code for one in result.letters] == ["too_large"]
    assert list(result.states) == [OTHER.encode()]


async def test_a_batch_ends_at_its_limits() -> None:
    """What is past a limit is left for the next batch; some records are taken in any case."""
    records = [Record(encode(seen("sent", 1)))] * 100

    written = await reduce(Work(records, [], NOW, 0, limits=Limits(written_bytes=1)), nothing)
    read = await reduce(
        Work(records, [], NOW, 0, limits=Limits(read_bytes=0)),
        lambda _: [encode(Folded(OWN).state)],
    )

    assert 0 < written.taken == read.taken < 100


@pytest.mark.parametrize(("seconds", "taken"), [(0.5, 32), (10.0, 100)])
async def test_a_batch_ends_by_the_time_of_its_own_work(
    seconds: float, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step takes 40 ms; then the other work of the event loop takes a minute."""
    times = accumulate(cycle([60.0, 0.04]))
    clock = SimpleNamespace(monotonic=lambda: next(times), thread_time=lambda: 0.0)
    monkeypatch.setattr(reduce_batch, "time", clock)
    records = [Record(encode(seen("sent", 1)))] * 100
    result = await reduce(Work(records, [], NOW, 0, limits=Limits(seconds=seconds)), nothing)
    assert result.taken == taken


@pytest.mark.parametrize(("times", "codes"), [(1, []), (9, ["too_costly"])])
async def test_a_costly_message_is_set_aside_if_it_is_costly_again(
    times: int, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long once may be another's work, of Python's garbage collector, say."""
    left = [0] * times

    def costly(state: Any, key: str, *given: Any, **more: Any) -> Any:
        end = time.thread_time() + 1.2 * reduce_batch.COSTLY_SECONDS
        while key == KEY and left and time.thread_time() < end:
            pass
        if key == KEY and left:
            left.pop()
        return track(state, key, *given, **more)

    monkeypatch.setattr(reduce_batch, "track", costly)
    records = [Record(encode(BESIDE), key=OTHER.encode()), Record(encode(OWN))]

    result = await reduce(Work(records, [], NOW, 0), nothing)

    assert [one.letter.code for one in result.letters] == codes
    assert {out.key for out in result.outputs} == (
        {OTHER.encode()} if codes else {KEY.encode(), OTHER.encode()}
    )
    assert result.taken == 2


async def test_a_viewer_has_a_state_of_its_own() -> None:
    """Its receipt changes it and the sums in the message's; a repeat changes neither."""
    viewed = seen("read", 5, "whatsapp", viewer="420777000001@s.whatsapp.net")
    name = viewer_key(KEY, "420777000001@s.whatsapp.net")
    first = await reduced([Record(encode(viewed))], nothing)
    stored = {key.decode(): value for key, value in first.states.items()}

    again = await reduced([Record(encode(viewed))], lambda keys: [stored[key] for key in keys])

    assert stored.keys() == {KEY, name}
    assert decode_viewer(stored[name]).attempts["whatsapp"].status == "read"
    assert decode_state(stored[KEY]).audience == {"delivered": 1, "read": 1}
    assert first.armed[name.encode()] == 5 + 45 * 24 * 3_600_000 + 1
    assert (again.outputs, again.states) == ([], {})


async def test_a_viewer_goes_when_its_message_is_gone() -> None:
    """Its timer moves on as long as the message lives, and then leaves a tombstone."""
    viewed = seen("read", 5, "whatsapp", viewer="v")
    name = viewer_key(KEY, "v")
    first = await reduced([Record(encode(viewed))], nothing)
    stored: dict[str, bytes | None] = {k.decode(): v for k, v in first.states.items()}
    timer = Timer(7, name)

    def read(keys: Sequence[str]) -> list[bytes | None]:
        return [stored.get(key) for key in keys]

    alive = await reduced([], read, timers=[timer], horizon=8)
    stored[KEY] = None
    gone = await reduced([], read, timers=[timer], horizon=8)

    assert (alive.states, alive.armed) == ({}, {name.encode(): first.armed[name.encode()]})
    assert (gone.states, gone.armed) == ({name.encode(): None}, {})


async def test_viewers_in_a_state_of_the_first_format_get_their_own() -> None:
    """The first observation after an upgrade takes them out; what was known stays known."""
    viewed = seen("read", 5, "whatsapp", viewer="v")
    folded = Folded(OWN, viewed)
    old = msgspec.to_builtins(folded.state) | {"version": 1}
    viewers = {one.viewer: one.attempts for one in folded.viewers.values()}
    old = {name: value for name, value in old.items() if name != "viewed"} | {"viewers": viewers}

    result = await reduced(
        [Record(encode(viewed)), Record(encode(seen("delivered", 6)))],
        lambda keys: [encode(old) if key == KEY else None for key in keys],
    )

    states = {key.decode(): value for key, value in result.states.items()}
    assert states == {
        KEY: encode(Folded(OWN, viewed, seen("delivered", 6)).state),
        **{key: encode(one) for key, one in folded.viewers.items()},
    }
    assert [out.topic for out in result.outputs] == ["statuses", "events"]


async def test_viewers_of_the_first_format_are_taken_out_once() -> None:
    """Also by an observation that changes nothing in the message's own state."""
    reported = [
        seen("read", at, "whatsapp", viewer=viewer) for viewer, at in (("v", 100), ("w", 50))
    ]
    folded = Folded(*reported)
    old = msgspec.to_builtins(folded.state) | {"version": 1}
    viewers = {one.viewer: one.attempts for one in folded.viewers.values()}
    old = {name: value for name, value in old.items() if name != "viewed"} | {"viewers": viewers}
    store: dict[str, bytes | None] = {KEY: encode(old)}
    record = Record(encode(seen("delivered", 70, "whatsapp", viewer="v")))

    published = []
    for _ in range(2):
        result = await reduced([record], lambda keys: [store.get(key) for key in keys])
        store.update({key.decode(): value for key, value in result.states.items()})
        published.append(len(result.outputs))

    assert published == [1, 0]


async def test_a_viewers_timer_does_not_come_back_at_once() -> None:
    """Its message is due as well and was not looked at yet: the viewer's turn comes later."""
    first = await reduced([Record(encode(seen("read", 5, "whatsapp", viewer="v")))], nothing)
    stored = {key.decode(): value for key, value in first.states.items()}
    timer = Timer(first.armed[viewer_key(KEY, "v").encode()], viewer_key(KEY, "v"))

    result = await reduced(
        [], lambda keys: [stored[key] for key in keys], timers=[timer], horizon=timer.due + 9
    )

    assert result.armed[timer.key.encode()] > timer.due + 9


async def test_timers_end_at_the_limits_as_well() -> None:
    """What is not looked at stays in the index."""
    state = encode(Folded(seen("queued", 1)).state)
    due = [Timer(n, KEY) for n in range(100)]
    first = [Record(encode(seen("queued", 1)))]
    work = Work(first, due, NOW, 0, limits=Limits(read_bytes=0))

    result = await reduce(work, lambda keys: [state for _ in keys])

    assert 0 < len(result.spent) < 100


async def test_outputs_name_their_message_and_installation() -> None:
    """CloudEvents: `subject` is the message key, `source` has the installation's name."""
    record = Record(encode(seen("sent", 1)))
    named = Work([record], [], NOW, 0, source=source_of("eu-1"))

    for work, source in ((Work([record], [], NOW, 0), b"/bluetick/track"), (named, EU)):
        for out in (await reduce(work, nothing)).outputs:
            headers = dict(out.headers)
            assert headers["ce_subject"] == KEY.encode()
            assert headers["ce_source"] == source


EU = b"/bluetick/eu-1/track"


async def test_a_context_is_only_a_header() -> None:
    """The outputs of a record carry its context; nothing else differs."""
    first, second = seen("sent", 1), seen("read", 2)
    records = [Record(encode(first), offset=7), Record(encode(second), offset=8)]
    plain = await reduce(Work(records, (), NOW, 0), nothing)
    headers = [("traceparent", b"1"), ("tracestate", b"2")]

    traced = await reduce(Work(records, (), NOW, 0, contexts={8: headers}), nothing)

    carried = [out.headers[len(before.headers) :] for out, before in _pairs(traced, plain)]
    assert [tuple(one) for one in carried if one] == [tuple(headers)] * (len(carried) // 2)
    assert [replace(out, headers=before.headers) for out, before in _pairs(traced, plain)] == (
        plain.outputs
    )
    assert (traced.states, traced.armed, traced.spent) == (plain.states, plain.armed, plain.spent)


def _pairs(one: Reduced, other: Reduced) -> list[tuple[Out, Out]]:
    return list(zip(one.outputs, other.outputs, strict=True))


async def test_each_record_has_one_outcome() -> None:
    """A reply counts at its own key, its second record as such; another program's record, too."""
    answer = reply(3, message_id="r1")
    home, answered = record_keys(answer)
    records = [
        Record(encode(seen("sent", 1))),
        Record(encode(answer), home.encode()),
        Record(encode(answer), answered.encode()),
        Record(b"no"),
    ]
    result = await reduced(records, nothing)
    assert result.counts.outcomes == {
        ("smsmanager", "advanced"): 1,
        ("smsmanager", "inbound"): 1,
        ("smsmanager", "replied"): 1,
        ("", "not_an_observation"): 1,
    }
    assert result.counts.outcomes.total() == result.taken
    assert result.counts.messages == {Standing("smsmanager"): 2}


async def test_an_observation_that_is_tracked_again_counts_as_repaired() -> None:
    """Its record was committed before, or one of its outputs is visible already."""
    records = [Record(encode(seen("sent", 1)), offset=6), Record(encode(seen("read", 2)))]
    first = await reduced(records, nothing)
    work = Work(records, (), NOW, 0, repaired_to=7)
    assert (await reduce(work, nothing)).counts.outcomes == {
        ("smsmanager", "repaired"): 1,
        ("smsmanager", "advanced"): 1,
    }
    status = [out for out in first.outputs if out.topic == "statuses"][-1]
    visible = output_id(status.key, status.headers)
    assert visible is not None
    work = Work(records, (), NOW, 0, seen=frozenset([visible]))
    assert (await reduce(work, nothing)).counts.outcomes == {
        ("smsmanager", "advanced"): 1,
        ("smsmanager", "repaired"): 1,
    }


async def test_replayed_observations_have_no_delay() -> None:
    """The times of live observations count, never later than the task's clock."""
    live, late = seen("sent", 1, received_at=5), seen("read", 2, received_at=NOW + 5)
    replayed = seen("delivered", 2, received_at=4, replay="r")
    result = await reduced([Record(encode(one)) for one in (live, late, replayed)], nothing)
    assert result.counts.received == [5, NOW]

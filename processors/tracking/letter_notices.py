"""The log lines about observations that are set aside: one for each code. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from processors.tracking.tracking_dead_letters import Letter
from service.log_events import Notice, notice


class Found(NamedTuple):
    """The line about the dead letters of one code; `past_bound` is whether a sender causes them."""

    code: str
    notice: Notice
    past_bound: bool


def notices(letters: Sequence[Letter]) -> Iterator[Found]:
    """Yield a line for each code: the first letter, and how many more."""
    for code, found in _by_code(letters).items():
        first, more = found[0], f" and {len(found) - 1} more" if len(found) > 1 else ""
        coordinates = "{}/{}/{}".format(*first.observed)
        sentence = f"{coordinates}{more} set aside as a dead letter, {code}: {first.letter.reason}"
        aside = notice(
            "observation_set_aside",
            message=sentence,
            code=code,
            count=len(found),
            topic=first.observed.topic,
            partition=first.observed.partition,
            offset=first.observed.offset,
            key=first.key,
        )
        yield Found(code, aside, first.past_bound)


def _by_code(letters: Sequence[Letter]) -> dict[str, list[Letter]]:
    found: dict[str, list[Letter]] = {}
    for one in letters:
        found.setdefault(one.letter.code, []).append(one)
    return found

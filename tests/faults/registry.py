"""The scenarios by name; each module of scenarios adds its own."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.trial import Trial

Act = Callable[[Trial], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """What is done to a trial, and what must have happened for it to count.

    `least` names the faults that must have been done, and how many at least. `long` ones are only
    run when asked for by name, or by the name of their `group`. `repeats`: normalise is disturbed,
    so it may repeat itself. A `loud` one ends with services that refuse to go on: nothing is
    compared then. `brokers`: how many it needs. `posts`: its load comes by HTTP, so many posts a
    second. `unread`: the live reader keeps statuses alone, without this word in their keys.
    `root`: only root can run it. `disk`: its broker's data is on a disk of so many MiB.
    """

    name: str
    act: Act
    least: Mapping[str, int]
    repeats: bool = True
    long: bool = False
    loud: bool = False
    brokers: int = 1
    posts: float | None = None
    group: str = ""
    unread: str = ""
    root: bool = False
    disk: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        return (self.act.__doc__ or "").strip().partition("\n")[0]

    @property
    def module(self) -> str:
        """The module that registered it."""
        return self.act.__module__

    def missed(self, trial: Trial) -> list[str]:
        """What the trial was for and did not reach."""
        return [
            f"the trial reached only {trial.did[what]} of {number} {what}"
            for what, number in self.least.items()
            if trial.did[what] < number
        ]


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str,
    least: Mapping[str, int],
    *,
    repeats: bool = True,
    long: bool = False,
    loud: bool = False,
    brokers: int = 1,
    posts: float | None = None,
    group: str = "",
    unread: str = "",
    root: bool = False,
    disk: int = 0,
    **settings: Any,
) -> Callable[[Act], Act]:
    """Register a scenario; further arguments are settings of its trials."""

    def register(act: Act) -> Act:
        SCENARIOS[name] = Scenario(
            name,
            act,
            least,
            repeats,
            long,
            loud,
            brokers,
            posts,
            group,
            unread,
            root,
            disk,
            settings,
        )
        return act

    return register

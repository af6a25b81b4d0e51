"""What a scenario is, and the registry to which each module of scenarios adds its own."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.trial import Trial

Act = Callable[[Trial], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """The faults of a trial, and the least number of them for the trial to count.

    `least`: the least number of faults by name. `long`: it runs only if selected by its name or
    its `group`. `repeats`: normalise is disturbed, so it may repeat itself. `uncompared`: the
    topics are not compared at the end. `brokers`: the number of brokers. `posts`: posts by HTTP a
    second; None: the load is written to Kafka. `unread`: the live reader keeps only statuses
    without this word in their key. `root`: it needs root. `disk`: the broker's disk in MiB.
    """

    name: str
    act: Act
    least: Mapping[str, int]
    repeats: bool = True
    long: bool = False
    uncompared: bool = False
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
        """The name of the module that registered it."""
        return self.act.__module__

    def missed(self, trial: Trial) -> list[str]:
        """Return a sentence for each fault that happened too rarely."""
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
    uncompared: bool = False,
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
            uncompared,
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

"""The fault suite: tests exactly-once on a real Kafka. See `python -m tests.faults --help`."""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from deploy.local_kafka.jars import cache_directory, kafka_jars
from tests.faults import report, scenarios
from tests.faults.cluster import cluster
from tests.faults.cluster_network import can_isolate, isolate
from tests.faults.controls import CONTROLS
from tests.faults.report import Outcome, Verdict
from tests.faults.runner import control, run
from tests.faults.scenario import Scenario
from tests.faults.scenarios import upgrades
from tests.faults.scenarios.full_disks import mounted, unmount
from tests.faults.single_broker import Environment, single_broker

_MIB = 1024 * 1024

SCENARIOS = scenarios.SCENARIOS
_GROUPS = sorted({one.group for one in SCENARIOS.values() if one.group})


def main() -> int:
    """Run the selected scenarios; return 1 if one failed."""
    options = _options()
    if options.list:
        for name, one in SCENARIOS.items():
            _say(f"{name:26} {one.summary}{_remark(one)}")
        for name, each in CONTROLS.items():
            _say(f"{name:26} (control) {each.summary}")
        return 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that starts a job in the background makes it ignore SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if wrong := _nothing_selected(options):
        _say(wrong)
        return 2
    upgrades.old_commit = options.old
    if can_isolate():
        asyncio.run(
            kafka_jars(cache_directory(), _say)
        )  # a network namespace reaches no other host
        isolate(network=_namespaces(options))
    try:
        return asyncio.run(_run(options))
    except KeyboardInterrupt:
        _say("interrupted; nothing is left running")
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first trial; default: 1")
    parser.add_argument("--trials", type=int, default=1, help="trials of each scenario; default: 1")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        choices=[*SCENARIOS, *CONTROLS, *_GROUPS],
        help="run only these scenarios, groups or controls",
    )
    parser.add_argument(
        "--brokers", type=int, choices=(1, 3), default=1, help="number of brokers; default: 1"
    )
    parser.add_argument(
        "--proxies",
        action="store_true",
        help="with three brokers: a proxy before each broker instead of network namespaces",
    )
    parser.add_argument(
        "--bars", action="store_true", help="fail if a figure exceeds its limit: p99, memory"
    )
    parser.add_argument("--controls", action="store_true", help="run the negative controls too")
    parser.add_argument(
        "--old", default="", metavar="COMMIT", help="the old code of the scenario upgrade"
    )
    parser.add_argument("--list", action="store_true", help="list scenarios and controls")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the report as JSON")
    return parser.parse_args()


async def _run(options: argparse.Namespace) -> int:
    home = Path(tempfile.mkdtemp(prefix="bluetick-faults-"))
    outcomes: list[Outcome] = []
    verdicts: list[Verdict] = []
    try:
        await _all(options, home, outcomes, verdicts)
    finally:
        good = not any(one.failures for one in outcomes) and all(one.good for one in verdicts)
        _say("\n" + report.table(outcomes, verdicts))
        if options.report:
            report.write(options.report, outcomes, verdicts)
        if good:
            unmount(home)
            shutil.rmtree(home)
        else:
            _say(f"the logs are in {home}")
    return 0 if good else 1


async def _all(
    options: argparse.Namespace, home: Path, outcomes: list[Outcome], verdicts: list[Verdict]
) -> None:
    seeds = range(options.seed, options.seed + options.trials)
    wanted = _scenarios(options)
    for name in (name for name in wanted if SCENARIOS[name].root and not can_isolate()):
        _say(f"skipped {name}: it needs root, to mount file systems")
    wanted = [name for name in wanted if can_isolate() or not SCENARIOS[name].root]
    for name in (name for name in wanted if SCENARIOS[name].disk):
        mounted(home / name / "kafka", SCENARIOS[name].disk * _MIB)
        async with single_broker(home / name) as environment:
            for seed in seeds:
                outcomes.append(await run(environment, SCENARIOS[name], seed))
                _say(report.line(outcomes[-1]))
    wanted = [name for name in wanted if not SCENARIOS[name].disk]
    if not wanted and not _controls(options):
        return
    async with _environment(options, home) as environment:
        for name in wanted:
            for seed in seeds:
                outcomes.append(await run(environment, SCENARIOS[name], seed, limits=options.bars))
                _say(report.line(outcomes[-1]))
        for name in _controls(options):
            for seed in seeds:
                verdicts.append(await control(environment, CONTROLS[name], seed))
                _say(report.verdict_line(verdicts[-1]))


def _environment(
    options: argparse.Namespace, home: Path
) -> AbstractAsyncContextManager[Environment]:
    if options.brokers == 1:
        return single_broker(home)
    return cluster(home, namespaces=_namespaces(options))


def _namespaces(options: argparse.Namespace) -> bool:
    return options.brokers > 1 and can_isolate() and not options.proxies


def _scenarios(options: argparse.Namespace) -> Sequence[str]:
    there = {name: one for name, one in SCENARIOS.items() if one.brokers == options.brokers}
    if options.only:
        asked = set(options.only)
        return [name for name, one in there.items() if {name, one.group} & asked]
    return [name for name, one in there.items() if not one.long]


def _controls(options: argparse.Namespace) -> Sequence[str]:
    there = [name for name, one in CONTROLS.items() if one.brokers == options.brokers]
    if options.only:
        return [name for name in there if name in options.only]
    return there if options.controls else []


def _nothing_selected(options: argparse.Namespace) -> str:
    """Return an error message if the options select nothing; else an empty text."""
    if _scenarios(options) or _controls(options):
        return ""
    return f"{', '.join(options.only)} cannot run with --brokers {options.brokers}; see --list"


def _remark(one: Scenario) -> str:
    notes = [f"--brokers {one.brokers}"] if one.brokers > 1 else []
    notes += [f"--only {one.group}"] if one.group else []
    notes += ["only by name"] if one.long and not one.group else []
    return f" ({', '.join(notes)})" if notes else ""


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())

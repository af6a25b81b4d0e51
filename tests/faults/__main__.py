"""The fault suite: exactly once, tried on a real Kafka. `python -m tests.faults --help`."""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.faults import report, scenarios
from tests.faults.controls import CONTROLS
from tests.faults.report import Outcome, Verdict
from tests.faults.run import control, run
from tests.faults.world import world

SCENARIOS = scenarios.SCENARIOS


def main() -> int:
    """Run what is asked for; 1 if anything failed."""
    options = _options()
    if options.list:
        for name, one in SCENARIOS.items():
            _say(f"{name:20} {one.summary}{' (only by name)' if one.long else ''}")
        for name, each in CONTROLS.items():
            _say(f"{name:20} (control) {each.summary}")
        return 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background by a shell: an interrupt is to end us all the same.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return asyncio.run(_run(options))
    except KeyboardInterrupt:
        _say("interrupted; nothing is left running")
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first trial; default: 1")
    parser.add_argument("--trials", type=int, default=1, help="of each scenario; default: 1")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        choices=[*SCENARIOS, *CONTROLS],
        help="these scenarios or controls alone",
    )
    parser.add_argument("--controls", action="store_true", help="the negative controls as well")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON, too")
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
            shutil.rmtree(home)
        else:
            _say(f"the logs are in {home}")
    return 0 if good else 1


async def _all(
    options: argparse.Namespace, home: Path, outcomes: list[Outcome], verdicts: list[Verdict]
) -> None:
    seeds = range(options.seed, options.seed + options.trials)
    async with world(home) as there:
        for name in _scenarios(options):
            for seed in seeds:
                outcomes.append(await run(there, SCENARIOS[name], seed))
                _say(report.line(outcomes[-1]))
        for name in _controls(options):
            for seed in seeds:
                verdicts.append(await control(there, CONTROLS[name], seed))
                _say(report.verdict_line(verdicts[-1]))


def _scenarios(options: argparse.Namespace) -> Sequence[str]:
    if options.only:
        return [name for name in options.only if name in SCENARIOS]
    return [name for name, one in SCENARIOS.items() if not one.long]


def _controls(options: argparse.Namespace) -> Sequence[str]:
    if options.only:
        return [name for name in options.only if name in CONTROLS]
    return list(CONTROLS) if options.controls else []


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())

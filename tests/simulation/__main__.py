"""The simulation's command line: many schedules, one of them again, or the negative controls."""

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import Pool

from tests.simulation.rules import ALL, CONTROLS, Rules
from tests.simulation.schedule import Verdict, run

_CHUNK = 100
_CONTROL_SCHEDULES = 50_000
_SHOWN_EVERY = 0.5

# The failed schedule if one failed, events by kind, steps taken, seconds of CPU.
Part = tuple[list[Verdict], Counter[str], int, float]


def main(given: Sequence[str] | None = None) -> int:
    """Run what the options say; return 1 if something that must hold did not."""
    options = _options(given)
    if options.controls:
        return _controls(options.seed, options.jobs)
    rules = _without(options.broken)
    if options.schedules == 1:
        return _replay(options.seed, rules)
    return _many(options, rules)


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first schedule's seed")
    parser.add_argument(
        "--schedules", type=int, default=100_000, help="how many; 1 is traced in full"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument(
        "--controls", action="store_true", help="break each rule until it is noticed"
    )
    parser.add_argument("--broken", choices=CONTROLS, help="run with one rule broken")
    return parser.parse_args(given)


def _without(rule: str | None) -> Rules:
    return ALL if rule is None else Rules(**{rule: False})


def _many(options: argparse.Namespace, rules: Rules) -> int:
    began = time.monotonic()
    happened: Counter[str] = Counter()
    steps = done = shown = 0
    busy = 0.0
    failures: list[Verdict] = []
    parts = _parts(options.seed, options.schedules, options.jobs, rules)
    for failed, counts, taken, spent in parts:
        happened += counts
        steps += taken
        busy += spent
        done = min(done + _CHUNK, options.schedules)
        failures += failed
        if time.monotonic() - began > shown * _SHOWN_EVERY:
            shown += 1
            _progress(f"{done} of {options.schedules} schedules")
        if failures:
            break
    _progress("")
    seconds = time.monotonic() - began
    _say(
        f"{done} schedules, {steps} steps, {seconds:.1f} s, {busy:.1f} s of CPU: "
        f"{done / seconds:.0f} schedules/s"
    )
    for what, count in sorted(happened.items(), key=lambda one: -one[1]):
        _say(f"{count:>10}  {what}")
    if failures:
        _say(_replay_command(failures[0].seed, options.broken))
        return _replay(failures[0].seed, rules)
    _say("all held")
    return 0


def _replay(seed: int, rules: Rules) -> int:
    verdict = run(seed, rules, _say)
    _say(f"seed {seed}: {verdict.failure or 'all held'}")
    return 1 if verdict.failure else 0


def _replay_command(seed: int, broken: str | None) -> str:
    command = f"python -m tests.simulation --seed {seed} --schedules 1"
    return f"{command} --broken {broken}" if broken else command


def _controls(seed: int, jobs: int) -> int:
    """Break each rule; report how many schedules it takes until it is noticed."""
    unnoticed = 0
    _say(f"{'control':20} {'schedules':>9} {'seed':>8}  what is wrong")
    for name, why in CONTROLS.items():
        _progress(name)
        found = caught(seed, _CONTROL_SCHEDULES, _without(name), jobs)
        _progress("")
        unnoticed += found is None
        taken = ("never", "-") if found is None else (str(found - seed + 1), str(found))
        _say(f"{name:20} {taken[0]:>9} {taken[1]:>8}  {why}")
    return 1 if unnoticed else 0


def caught(seed: int, most: int, rules: Rules, jobs: int = 1) -> int | None:
    """Return the first seed whose schedule fails; None if none does."""
    for failed, _, _, _ in _parts(seed, most, jobs, rules):
        if failed:
            return failed[0].seed
    return None


def _parts(seed: int, most: int, jobs: int, rules: Rules) -> Iterator[Part]:
    """Run schedules in chunks; yield their results in the order of the seeds."""
    chunks = [range(s, min(s + _CHUNK, seed + most)) for s in range(seed, seed + most, _CHUNK)]
    work: Callable[[range], Part] = partial(_part, rules=rules)
    if jobs == 1:
        yield from map(work, chunks)
        return
    with Pool(jobs) as pool:
        yield from pool.imap(work, chunks)


def _part(seeds: range, rules: Rules) -> Part:
    """Run schedules up to the first that fails."""
    happened: Counter[str] = Counter()
    steps, began = 0, time.process_time()
    for seed in seeds:
        verdict = run(seed, rules)
        happened += verdict.happened
        steps += verdict.steps
        if verdict.failure:
            return [verdict], happened, steps, time.process_time() - began
    return [], happened, steps, time.process_time() - began


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Writes the table of the README from the results of full runs: `python -m bench.readme`."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.peers import end_to_end, ingest, normalise, track
from bench.peers.results import Result, ratio, shown, spread

README = Path(__file__).parents[1] / "README.md"
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- bench/results: python -m bench.readme -->", "<!-- end of bench/results -->"
_MOST_ROWS = 6
_RATE = 1000


class Row(NamedTuple):
    """A row: what is compared, of which job, by which figure, between whom."""

    what: str
    job: str
    figure: str
    ours: str
    theirs: str


ROWS = (
    Row("observations/s, on two cores", "track", "records/s", track.TWO, track.STREAMS),
    Row("CPU µs an observation", "track", "CPU µs/record", track.ONE, track.QUIX),
    Row("CPU µs a body", "normalise", "CPU µs/record", normalise.BLUETICK, normalise.LOOP),
    Row("webhooks/s, one process", "ingest", "webhooks/s", ingest.BLUETICK, ingest.APP),
    Row("CPU µs a webhook", "ingest", "CPU µs/webhook", ingest.BLUETICK, ingest.GO),
)


def results(directory: Path = RESULTS) -> dict[str, Result]:
    """Read the results of all jobs, by job."""
    found = (
        msgspec.json.decode(file.read_bytes(), type=Result)
        for file in sorted(directory.glob("peers-*.json"))
    )
    return {one.job: one for one in found}


def table(found: Mapping[str, Result]) -> str:
    """Return the table in Markdown, at most six rows; jobs without a result are left out."""
    rows = [line for row in ROWS if row.job in found for line in _compared(found[row.job], row)]
    if end_to_end_result := found.get("end-to-end"):
        rows += _end_to_end(end_to_end_result)
    head = [
        "| job | figure | Bluetick | compared with | its figure | ratio | command |",
        "| --- | --- | ---: | --- | ---: | ---: | --- |",
    ]
    return "\n".join([*head, *rows[:_MOST_ROWS]])


def _compared(result: Result, row: Row) -> Iterator[str]:
    ours = spread(result, row.ours, row.figure)
    theirs = spread(result, row.theirs, row.figure)
    compared = ratio(result, row.theirs, row.figure, row.ours)
    if ours and theirs and compared:
        cells = (shown(ours.median), row.theirs, shown(theirs.median), f"{compared.median:.2f}")
        yield f"| {row.job} | {row.what} | {' | '.join(cells)} | `{result.command}` |"


def _end_to_end(result: Result) -> Iterator[str]:
    quantiles = [
        spread(result, end_to_end.BLUETICK, f"{name} ms at {_RATE:,}/s") for name in ("p50", "p99")
    ]
    if all(quantiles):
        values = ", ".join(shown(one.median) for one in quantiles if one)
        what = f"webhook to event at {_RATE:,}/s, p50 and p99 in ms"
        yield f"| end-to-end | {what} | {values} | | | | `{result.command}` |"


def written(text: str, found: Mapping[str, Result]) -> str:
    """Return the README's text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{after}"


def main(write: Callable[[str], object] = README.write_text) -> None:
    write(written(README.read_text(), results()))


if __name__ == "__main__":
    main()

"""The benchmarks with peers disqualify a run whose outputs are wrong."""

import os
import sys
from pathlib import Path

from bench.peers import normalise
from bench.peers.drain import Place
from bench.peers.kafka import Broker


async def test_a_run_that_drops_or_doubles_is_disqualified(kafka: str, tmp_path: Path) -> None:
    """Beside Bluetick and a peer that does neither, on a real Kafka."""
    place = Place(Broker(kafka), os.getpid(), tmp_path, print)
    module = "tests.broker.sabotaged_normaliser"
    peers = {
        sabotage: [sys.executable, "-m", module, sabotage]
        for sabotage in ("nothing", "drop", "double")
    }
    runs = await normalise.measure(place, 40, 1, peers)
    said = {run.subject: run.wrong for run in runs}
    assert said.keys() == {normalise.BLUETICK, *peers}
    assert said[normalise.BLUETICK] == ""
    assert said["nothing"] == ""
    assert said["drop"].startswith("observations dropped 1, such as ")
    assert said["double"].startswith("observations doubled 1, such as ")

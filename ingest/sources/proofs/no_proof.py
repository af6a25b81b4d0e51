"""`auth = "none"`: every sender may send. Pure."""

from collections.abc import Sequence
from typing import Literal

from ingest.sources.proofs.contract import Proof, Proven, Request


class NoProof(Proof):
    """Nothing has to be shown."""

    auth: Literal["none"]

    def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Proven:
        del secrets, now
        return Proven(request.path)


NO_PROOF = NoProof(auth="none")

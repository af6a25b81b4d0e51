"""`auth = "none"`: every sender is accepted. Pure."""

from collections.abc import Sequence
from typing import Literal

from ingest.sources.proofs.contract import Proof, Proven, Request


class NoProof(Proof):
    """No proof is required."""

    auth: Literal["none"]

    def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Proven:
        del secrets, now
        return Proven(request.path)


NO_PROOF = NoProof(auth="none")

"""Whapi signs nothing; in the mode `method` it sends its events with any of these methods."""

from providers.proof import Proof

PROOF = Proof(methods=("POST", "PUT", "PATCH", "DELETE"))

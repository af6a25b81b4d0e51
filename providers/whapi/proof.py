"""Whapi does not sign; in the mode `method` it sends its events with any of these methods."""

from providers.proof import ProviderProof

PROOF = ProviderProof(methods=("POST", "PUT", "PATCH", "DELETE"))

"""The invented provider signs its bodies in base64, and posts only."""

from types import MappingProxyType

from providers.proof import ProviderProof

PROOF = ProviderProof(
    methods=("POST",),
    presets=MappingProxyType(
        {"hmac": MappingProxyType({"header": "X-Invented-Signature", "encoding": "base64"})}
    ),
)

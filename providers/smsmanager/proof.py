"""SmsManager signs its bodies: `X-Request-Signature`, HMAC-SHA256 (see docs/sources.md)."""

from types import MappingProxyType

from providers.proof import ProviderProof

PROOF = ProviderProof(
    presets=MappingProxyType({"hmac": MappingProxyType({"header": "X-Request-Signature"})}),
    names_account=False,
)

"""How a provider sends its webhooks and proves itself, as data: ingest holds the code of proofs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NONE: Mapping[str, Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProof:
    """What ingest knows of a provider.

    `methods` are the HTTP methods its webhooks may come by. `presets` are the keys of a source
    that the provider's own way of proof decides, by the kind of `auth` (docs/sources.md); a source
    may set them differently. `names_account` says whether its bodies name an account.
    """

    methods: tuple[str, ...] = ("POST", "PUT", "PATCH", "DELETE")
    presets: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _NONE)
    names_account: bool = True

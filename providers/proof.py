"""How a provider sends and authenticates its webhooks, as data; ingest has the code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NONE: Mapping[str, Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProof:
    """The facts about a provider that ingest needs.

    `methods` are the HTTP methods of its webhooks. `presets` are the defaults for the keys of a
    source, by the kind of `auth` (docs/sources.md); a source may set them differently.
    `names_account` says whether its bodies name an account.
    """

    methods: tuple[str, ...] = ("POST", "PUT", "PATCH", "DELETE")
    presets: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: _NONE)
    names_account: bool = True

"""The networks in the sources file, as pydantic types. Pure."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from ingest.sources.ip_allowlist import Network
from ingest.sources.mistakes import mistake, wrong

_MAPPED = 96
_DO = 'write "203.0.113.0/24", for example'


def _network(entry: object) -> Network:
    try:
        network = ip_network(entry if isinstance(entry, str) else "")
    except ValueError:
        what = "has bits set after its prefix" if _has_host_bits(entry) else "is not a network"
        raise mistake(f"the entry {what}; {_DO}") from None
    if isinstance(network, IPv6Network) and _is_mapped(network):
        raise mistake("the entry is IPv4 within IPv6; write it as IPv4")
    return network


def _not_everything(network: Network) -> Network:
    if not network.prefixlen:
        raise mistake("the entry trusts every address; name your proxies' networks")
    return network


def _listed(value: object) -> object:
    if not isinstance(value, list):
        raise wrong("it is not a list of networks")
    return value


def _has_host_bits(entry: object) -> bool:
    try:
        ip_network(entry if isinstance(entry, str) else "", strict=False)
    except ValueError:
        return False
    return True


def _is_mapped(network: IPv6Network) -> bool:
    return network.prefixlen >= _MAPPED and network.network_address.ipv4_mapped is not None


_Entry = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]

Networks = Annotated[tuple[_Entry, ...], BeforeValidator(_listed)]
Proxies = Annotated[
    tuple[Annotated[_Entry, AfterValidator(_not_everything)], ...], BeforeValidator(_listed)
]

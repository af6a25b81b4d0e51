"""The sources file (TOML): parsing, validation of each key, and the resulting sources. Pure.

The file contains no secret, only the places where secrets are kept.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from ingest.accept_webhook import Source
from ingest.sources.ip_allowlist import AllowList, Network
from ingest.sources.mistakes import Finding, Keys, Table, either, mistake, wrong
from ingest.sources.networks import Networks, Proxies
from ingest.sources.proofs.contract import Proof
from ingest.sources.proofs.kinds import KINDS, proof_of
from ingest.sources.proofs.no_proof import NoProof
from ingest.sources.secret_places import Place, places
from providers import NAMES, import_provider
from schemas.accounts import NO_ACCOUNT, Patterns, encode_patterns, only

# In the header of each record, so that a body at its cap still fits Kafka's 1 MiB.
MOST_ACCOUNT_BYTES = 8 * 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BRACKETS = frozenset("[]")
_FILE_KEYS = "the file may have trusted_proxies, and for each source a table [sources.<name>]"


@dataclass(frozen=True, slots=True)
class Declared:
    """One source as the file declares it; its secrets are not read yet."""

    name: str
    provider: str
    proof: Proof
    networks: tuple[Network, ...]
    accounts: Patterns | None = None


@dataclass(frozen=True, slots=True)
class SecretPlace:
    """The place of a secret that a source names, and the kind of its `auth`.

    The source's other keys may be wrong.
    """

    source: str
    number: int
    auth: str
    place: Place

    @property
    def keys(self) -> Keys:
        return ("sources", self.source, "secrets", self.number)


@dataclass(frozen=True, slots=True)
class Reading:
    """The contents of a file, as far as they are valid, and all its mistakes.

    With findings, only the places are used: their secrets are checked together with the file.
    """

    declared: tuple[Declared, ...] = ()
    proxies: tuple[Network, ...] = ()
    places: tuple[SecretPlace, ...] = ()
    findings: tuple[Finding, ...] = ()


def _fit_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise mistake(
            "the name of a source is a part of its URL; use letters, digits, dots, hyphens and "
            "underscores, and begin with a letter or digit"
        )
    return value


def _fit_provider(value: object) -> object:
    if not isinstance(value, str) or value not in NAMES:
        raise wrong("it is none of those known")
    return value


def _fit_account(value: str) -> str:
    if value == NO_ACCOUNT:
        raise wrong(f'the entry is "{NO_ACCOUNT}", which means no account')
    if not value or not value.isprintable() or _BRACKETS & set(value):
        raise wrong("the entry is empty, or has brackets or unprintable characters in it")
    return value


def _some_accounts(value: object) -> object:
    if not isinstance(value, list) or not value:
        raise wrong("it is not a list of accounts")
    return value


def _some_addresses(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    if not networks:
        raise mistake("it admits no address; name networks or remove the key")
    return networks


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    trusted_proxies: Annotated[
        Proxies, Field(examples=['trusted_proxies = ["10.0.0.0/8"], for example'])
    ] = ()
    sources: Annotated[
        dict[Annotated[str, AfterValidator(_fit_name)], dict[str, Any]],
        Field(examples=["a table [sources.<name>] with provider and auth"]),
    ]

    @field_validator("sources")
    @classmethod
    def _some(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise wrong("the file names no source")
        return value


class _Shared(BaseModel):
    """The keys of every source; the remaining keys belong to its proof."""

    model_config = ConfigDict(extra="ignore")

    provider: Annotated[
        str, BeforeValidator(_fit_provider), Field(examples=[f"provider = {either(NAMES)}"])
    ]
    addresses: Annotated[
        Networks,
        AfterValidator(_some_addresses),
        Field(examples=['addresses = ["203.0.113.0/24"], for example']),
    ] = ()
    accounts: Annotated[
        tuple[Annotated[str, AfterValidator(_fit_account)], ...] | None,
        BeforeValidator(_some_accounts),
        Field(examples=['accounts = ["MANTIS-M72HC", "SHOP-*"], for example']),
    ] = None

    @field_validator("accounts")
    @classmethod
    def _of_the_provider(cls, accounts: Patterns | None, info: ValidationInfo) -> Patterns | None:
        if accounts is None:
            return None
        if len(encode_patterns(accounts)) > MOST_ACCOUNT_BYTES:
            raise mistake(f"it is longer than {MOST_ACCOUNT_BYTES} bytes; write patterns")
        provider = info.data.get("provider")
        if (
            provider
            and not import_provider.proof(provider).names_account
            and only(accounts) is None
        ):
            raise mistake(
                f"a body of {provider} names no account, so its source names exactly one, without "
                '* and ?; write accounts = ["shop"]'
            )
        return accounts


def read(text: str) -> Reading:
    """Parse a sources file; returns all its mistakes, not only the first."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return Reading(findings=(_not_toml(error),))
    file = _file(document)
    findings = list(file.findings)
    declared: list[Declared] = []
    kept: list[SecretPlace] = []
    for name, table in _tables(document):
        kept += _places(name, table)
        one = _source(name, table)
        if isinstance(one, Declared):
            declared.append(one)
        else:
            findings += one
    return Reading(tuple(declared), file.proxies, tuple(kept), tuple(findings))


def source(
    declared: Declared, secrets: Sequence[bytes], proxies: tuple[Network, ...] = ()
) -> Source:
    """Return the source; `secrets` are the valid secrets of its places."""
    return Source(
        declared.name,
        declared.provider,
        declared.proof,
        tuple(map(declared.proof.kept, secrets)),
        AllowList(declared.networks, proxies) if declared.networks else None,
        declared.accounts,
    )


def unrestricted(declared: Sequence[Declared]) -> list[tuple[str, tuple[str, ...]]]:
    """Return providers with several sources, and their sources that may report on every account."""
    found = []
    for provider in NAMES:
        own = [one for one in declared if one.provider == provider]
        wide = tuple(one.name for one in own if one.accounts is None)
        if len(own) > 1 and wide:
            found.append((provider, wide))
    return found


def _not_toml(error: Exception) -> Finding:
    """Return a finding for a file that is not TOML; the rest of the file cannot be checked."""
    if isinstance(error, RecursionError):
        return Finding((), "the file is nested too deeply to be read; write it flat")
    what = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a number is too long"
    return Finding((), f"this is no TOML: {what}; correct it, then the rest can be checked")


def _file(document: dict[str, Any]) -> Reading:
    """Validate the file except the tables of its sources."""
    try:
        return Reading(proxies=_File.model_validate(document).trusted_proxies)
    except ValidationError as error:
        table = Table((), _File, _FILE_KEYS, missing="the file names no source")
        return Reading(findings=tuple(table.findings(error)))


def _tables(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    tables = document.get("sources")
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if isinstance(table, dict):
            yield name, table


def _places(name: str, table: Mapping[str, Any]) -> Iterator[SecretPlace]:
    """Yield the places that a source names, even if another key of its table is wrong."""
    auth = table.get("auth")
    if isinstance(auth, str) and "secrets" in KINDS.get(auth, NoProof).model_fields:
        for number, place in places(table.get("secrets")):
            yield SecretPlace(name, number, auth, place)


def _source(name: str, table: dict[str, Any]) -> Declared | list[Finding]:
    """Return a source, or the mistakes in its table."""
    at: Keys = ("sources", name)
    findings: list[Finding] = []
    shared, proof = _shared(at, table, findings), _proof(at, table, findings)
    if shared is None or proof is None:
        return findings
    return Declared(name, shared.provider, proof, shared.addresses, shared.accounts)


def _shared(at: Keys, table: dict[str, Any], findings: list[Finding]) -> _Shared | None:
    try:
        return _Shared.model_validate(table)
    except ValidationError as error:
        findings += Table(at, _Shared, "").findings(error)
        return None


def _proof(at: Keys, table: dict[str, Any], findings: list[Finding]) -> Proof | None:
    own = {key: value for key, value in table.items() if key not in _Shared.model_fields}
    auth = table.get("auth")
    kind = KINDS.get(auth) if isinstance(auth, str) else None
    if kind is None:
        what = "it is none of those known" if "auth" in table else "it is missing"
        findings.append(Finding((*at, "auth"), f"{what}; write auth = {either(tuple(KINDS))}"))
        return None
    try:
        return proof_of.validate_python({**_presets(table.get("provider"), auth), **own})
    except ValidationError as error:
        keys = sorted({*_Shared.model_fields, *kind.model_fields})
        allowed = f'a source with auth = "{auth}" may have {", ".join(keys)}'
        needed = f'auth = "{auth}" needs this key'
        findings += Table(at, kind, allowed, needed, tags=1).findings(error)
        return None


def _presets(provider: object, auth: str | None) -> Mapping[str, str]:
    """Return the keys that a provider's own kind of proof sets."""
    if not isinstance(provider, str) or provider not in NAMES or auth is None:
        return {}
    return import_provider.proof(provider).presets.get(auth, {})

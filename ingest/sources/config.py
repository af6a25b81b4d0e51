"""Who may send, as a TOML file says it: read, judged line by line, made into sources. Pure.

Secrets never stand in the file, only where they are kept; what a value says is not repeated in a
finding where it could be a secret that somebody has put in the wrong place.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_network
from types import MappingProxyType
from typing import Any, Literal, cast

from ingest.admission import Source
from ingest.sources import authentication
from ingest.sources.authentication import Algorithm, Encoding, Proof
from ingest.sources.ip_allowlist import AllowList, Network
from ingest.sources.toml_positions import Path, lines
from providers import NAMES
from schemas.accounts import NAMELESS, NO_ACCOUNT, Patterns, encode_patterns, only
from schemas.webhook import KEPT_HEADERS

# Below this a secret can be guessed; of Standard Webhooks the specification asks for more.
LEAST_BYTES = 16
LEAST_KEY = 24

# Two, so that one can be taken out of use after the other has come into it.
MOST_SECRETS = 2

_MAPPED = 96
_SHARED = ("provider", "auth", "addresses", "accounts")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLACE = re.compile(r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):(/[^\x00-\x1f]+)")
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
# In the header of each record, so that a body at its cap still fits Kafka's 1 MiB.
MOST_ACCOUNT_BYTES = 8 * 1024
_STORED = KEPT_HEADERS | {"content-type"}

# A provider's own way of signing, where its source does not say otherwise.
PRESETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"smsmanager": {"header": "X-Request-Signature"}}
)
_SIGNING = {"algorithm": "sha256", "encoding": "hex", "prefix": ""}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that is wrong in the file, and what to do."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret is kept: `env:NAME` or `file:/path`."""

    kind: Literal["env", "file"]
    name: str
    line: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Declared:
    """One source as the file has it; its secrets are still where they are kept."""

    name: str
    provider: str
    auth: str
    options: Mapping[str, str]
    places: tuple[Place, ...]
    networks: tuple[Network, ...]
    accounts: Patterns | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says, as far as it can be understood, and all that is wrong with it.

    With findings, what is declared is good for looking at its secrets and nothing else.
    """

    declared: tuple[Declared, ...]
    proxies: tuple[Network, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of `auth`: its own keys, what a secret must look like, the proof it makes."""

    make: Callable[[Mapping[str, str], Sequence[bytes]], Proof]
    keys: tuple[str, ...] = ("secrets",)
    shape: re.Pattern[bytes] = re.compile(rb".*", re.DOTALL)
    shape_in_words: str = ""


def read(text: str) -> Reading:
    """Read a file of sources; everything that is wrong is found, not only the first of it."""
    try:
        document = tomllib.loads(text)
        where = lines(text)
    except (ValueError, RecursionError) as error:
        return Reading((), (), (_no_toml(text, error),))
    return _Reader(where).reading(document)


def weakness(auth: str, secret: bytes) -> str | None:
    """What makes a secret unfit for its `auth`, as the end of a sentence; None if it is fit."""
    kind = KINDS[auth]
    if not secret:
        return "is empty"
    if not kind.shape.fullmatch(secret):
        return kind.shape_in_words
    if auth == "standard-webhooks":
        key = authentication.standard_key(secret)
        if key is None:
            return "is not whsec_ and base64 after it"
        return None if len(key) >= LEAST_KEY else f"stands for fewer than {LEAST_KEY} bytes"
    return None if len(secret) >= LEAST_BYTES else f"is shorter than {LEAST_BYTES} bytes"


def source(
    declared: Declared, secrets: Sequence[bytes], proxies: tuple[Network, ...] = ()
) -> Source:
    """The source with its proof; `secrets` are those of its places, and fit."""
    proof = KINDS[declared.auth].make(declared.options, secrets)
    allowed = AllowList(declared.networks, proxies) if declared.networks else None
    return Source(declared.name, declared.provider, proof, allowed, declared.accounts)


def unrestricted(declared: Sequence[Declared]) -> list[tuple[str, tuple[str, ...]]]:
    """The providers that have several sources, with those of them that speak for every account."""
    found = []
    for provider in NAMES:
        own = [one for one in declared if one.provider == provider]
        wide = tuple(one.name for one in own if one.accounts is None)
        if len(own) > 1 and wide:
            found.append((provider, wide))
    return found


class _Reader:
    """Goes through a document and collects what is wrong."""

    def __init__(self, where: Mapping[Path, int]) -> None:
        self._where = where
        self._findings: list[Finding] = []

    def reading(self, document: dict[str, Any]) -> Reading:
        for key in document.keys() - {"sources", "trusted_proxies"}:
            self._complain(
                (key,),
                f"there is no key {key!r} for the whole file; it may have trusted_proxies, and for "
                "each source a table [sources.<name>]",
            )
        proxies = self._networks(("trusted_proxies",), document.get("trusted_proxies", []))
        tables = document.get("sources")
        declared: list[Declared | None] = []
        if isinstance(tables, dict) and tables:
            declared += [self._source(name, table) for name, table in tables.items()]
        else:
            self._complain(
                ("sources",),
                "the file names no source; write a table [sources.<name>] with provider and auth",
            )
        return Reading(tuple(filter(None, declared)), proxies, tuple(sorted(self._findings)))

    def _complain(self, path: Path, text: str) -> None:
        """Note a finding on the line of the last key of `path` that is in the file."""
        while path and path not in self._where:
            path = path[:-1]
        self._findings.append(Finding(self._where.get(path, 1), text))

    def _source(self, name: str, table: object) -> Declared | None:
        at: Path = ("sources", name)
        if not _NAME.fullmatch(name):
            self._complain(
                at,
                "the name of a source is a part of its URL; use letters, digits, dots, hyphens and "
                "underscores, and begin with a letter or digit",
            )
        if not isinstance(table, dict):
            self._complain(at, "a source is a table; write [sources.<name>] and its keys below it")
            return None
        provider = self._choice(at, table, "provider", NAMES) or ""
        auth = self._choice(at, table, "auth", tuple(KINDS))
        self._refuse_unknown(at, table, auth)
        keys = KINDS[auth].keys if auth else ()
        options = dict(self._options(at, table, keys))
        places = tuple(self._places((*at, "secrets"), table)) if "secrets" in keys else ()
        networks = self._networks((*at, "addresses"), table.get("addresses", []))
        if table.get("addresses") == []:
            self._complain((*at, "addresses"), "addresses lets nobody in; name networks or drop it")
        accounts = self._accounts((*at, "accounts"), table, provider)
        if auth is None:
            return None
        if auth == "hmac":
            options = {**_SIGNING, **PRESETS.get(provider, {}), **options}
        for key in keys:
            if key not in table and key not in options:
                self._complain(at, f'auth = "{auth}" needs the key {key}; write {_EXAMPLES[key]}')
        return Declared(name, provider, auth, options, places, networks, accounts)

    def _accounts(self, at: Path, table: dict[str, Any], provider: str) -> Patterns | None:
        if "accounts" not in table:
            return None
        value = table["accounts"]
        if not isinstance(value, list) or not value:
            self._complain(at, f"accounts is a list of accounts; write {_ACCOUNTS}")
            return ()
        for number, entry in enumerate(value):
            if wrong := _check_account(entry):
                self._complain((*at, number), f"an entry of accounts {wrong}; write {_ACCOUNTS}")
        patterns = tuple(entry for entry in value if isinstance(entry, str))
        if len(encode_patterns(patterns)) > MOST_ACCOUNT_BYTES:
            self._complain(
                at, f"accounts is longer than {MOST_ACCOUNT_BYTES} bytes; write patterns"
            )
        if provider in NAMELESS and only(patterns) is None:
            self._complain(
                at,
                f"a body of {provider} names no account, so its source names exactly one, "
                'without * and ?; write accounts = ["shop"]',
            )
        return patterns

    def _choice(
        self, at: Path, table: dict[str, Any], key: str, choices: tuple[str, ...]
    ) -> str | None:
        value = table.get(key)
        if isinstance(value, str) and value in choices:
            return value
        wrong = "is none of those known" if key in table else "is missing"
        self._complain((*at, key), f"{key} {wrong}; write {key} = {_or(choices)}")
        return None

    def _refuse_unknown(self, at: Path, table: dict[str, Any], auth: str | None) -> None:
        known = {*_SHARED, *(KINDS[auth].keys if auth else _EXAMPLES)}
        kind = f'a source with auth = "{auth}"' if auth else "a source"
        for key in table.keys() - known:
            self._complain(
                (*at, key),
                f"there is no key {key!r} for {kind}; it may have {', '.join(sorted(known))}",
            )

    def _options(
        self, at: Path, table: dict[str, Any], keys: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        for key, check in _CHECKS.items():
            if key in table and key in keys:
                value = table[key]
                wrong = check(value) if isinstance(value, str) else "is not a text"
                if wrong:
                    self._complain((*at, key), f"{key} {wrong}; write {_EXAMPLES[key]}")
                else:
                    yield key, value

    def _places(self, at: Path, table: dict[str, Any]) -> Iterator[Place]:
        entries = table.get("secrets", [])
        if "secrets" in table and not (
            isinstance(entries, list) and 0 < len(entries) <= MOST_SECRETS
        ):
            self._complain(
                at,
                "secrets is a list of one or two places, the second for a change of the secret; "
                f"write {_EXAMPLES['secrets']}",
            )
            return
        for number, entry in enumerate(entries):
            found = _PLACE.fullmatch(entry) if isinstance(entry, str) else None
            if found is None:
                self._complain(
                    (*at, number),
                    "an entry of secrets does not say where a secret is kept; write env:NAME or "
                    "file:/path, and the secret itself nowhere in this file",
                )
            elif (found[2] or "").upper().startswith("BLUETICK_"):
                self._complain(
                    (*at, number),
                    f"{found[2]} would be taken for a setting; give the variable another name",
                )
            elif found[1]:
                yield Place("env", found[2], self._where[(*at, number)])
            else:
                yield Place("file", found[4], self._where[(*at, number)])

    def _networks(self, at: Path, value: object) -> tuple[Network, ...]:
        if not isinstance(value, list):
            self._complain(at, f'{at[-1]} is a list of networks; write ["203.0.113.0/24"]')
            return ()
        found = [self._network((*at, number), entry) for number, entry in enumerate(value)]
        return tuple(network for network in found if network is not None)

    def _network(self, at: Path, entry: object) -> Network | None:
        """One network, None if it is none or no good."""
        try:
            network = ip_network(entry if isinstance(entry, str) else "")
        except ValueError:
            wrong = "is no network"
            if isinstance(entry, str) and _has_host_bits(entry):
                wrong = "has bits set after its prefix"
            self._complain(at, f'an entry of {at[-2]} {wrong}; write "203.0.113.0/24", say')
            return None
        if isinstance(network, IPv6Network) and _is_mapped(network):
            self._complain(at, f"an entry of {at[-2]} is IPv4 within IPv6; write it as IPv4")
        elif at[0] == "trusted_proxies" and not network.prefixlen:
            self._complain(at, "trusted_proxies trusts everybody; name your proxies' networks")
        return network


def _no_toml(text: str, error: Exception) -> Finding:
    """Say what the parser stumbled on; it cannot look behind that."""
    if isinstance(error, RecursionError):
        return Finding(1, "the file is nested too deeply to be read; write it flat")
    found = _POSITION.search(str(error))
    line = int(found[1]) if found and found[1] else text.count("\n") + 1
    what = _POSITION.sub("", str(error)) if found else "a value is out of bounds"
    return Finding(
        line, f"this is no TOML: {what}; mend it, then what comes after it can be checked"
    )


def _or(choices: tuple[str, ...]) -> str:
    *first, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(first)} or {last}"


def _is_mapped(network: IPv6Network) -> bool:
    return network.prefixlen >= _MAPPED and network.network_address.ipv4_mapped is not None


def _has_host_bits(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _check_header(value: str) -> str | None:
    if not _HEADER.fullmatch(value):
        return "is not the name of a header"
    return "names one that is stored with the body" if value.lower() in _STORED else None


def _check_user(value: str) -> str | None:
    fit = value and value.isprintable() and ":" not in value
    return None if fit else "is empty, or has a colon or unprintable characters in it"


def _check_account(entry: object) -> str | None:
    if not isinstance(entry, str):
        return "is not a text"
    if entry == NO_ACCOUNT:
        return f'is "{NO_ACCOUNT}", which stands for no account'
    fit = entry and entry.isprintable() and not set(entry) & set("[]")
    return None if fit else "is empty, or has brackets or unprintable characters in it"


def _check_prefix(value: str) -> str | None:
    fit = value.isascii() and value.isprintable() and not value.startswith(" ")
    return None if fit else "has other than printable ASCII in it, or begins with a space"


def _one_of(*choices: str) -> Callable[[str], str | None]:
    return lambda value: None if value in choices else f"is not {_or(choices)}"


_CHECKS: Mapping[str, Callable[[str], str | None]] = MappingProxyType(
    {
        "header": _check_header,
        "user": _check_user,
        "algorithm": _one_of("sha256", "sha1", "sha512"),
        "encoding": _one_of("hex", "base64", "base64url"),
        "prefix": _check_prefix,
    }
)

_ACCOUNTS = 'accounts = ["MANTIS-M72HC", "SHOP-*"], say'
_EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "header": 'header = "X-Webhook-Token", say',
        "user": 'user = "bluetick", say',
        "algorithm": 'algorithm = "sha256"',
        "encoding": 'encoding = "hex"',
        "prefix": 'prefix = "sha256=", say',
        "secrets": 'secrets = ["env:NAME"] or ["file:/path"]',
    }
)


def _signature(options: Mapping[str, str], secrets: Sequence[bytes]) -> Proof:
    return authentication.signature(
        options["header"],
        cast("Algorithm", options["algorithm"]),
        cast("Encoding", options["encoding"]),
        options["prefix"],
        secrets,
    )


def _standard(_: Mapping[str, str], secrets: Sequence[bytes]) -> Proof:
    keys = map(authentication.standard_key, secrets)
    return authentication.standard_webhook(key for key in keys if key is not None)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "none": Kind(lambda _, __: authentication.NOTHING, keys=()),
        "header": Kind(
            lambda options, secrets: authentication.header(options["header"], secrets),
            ("header", "secrets"),
            re.compile(rb"[!-~](?:[ -~]*[!-~])?"),
            "has other than printable ASCII in it, or spaces around it",
        ),
        "bearer": Kind(
            lambda _, secrets: authentication.bearer(secrets),
            shape=re.compile(rb"[!-~]+"),
            shape_in_words="has spaces or other than printable ASCII in it",
        ),
        "basic": Kind(
            lambda options, secrets: authentication.basic(options["user"], secrets),
            ("user", "secrets"),
            re.compile(rb"[^\x00-\x1f\x7f]+"),
            "has control characters in it",
        ),
        "path": Kind(
            lambda _, secrets: authentication.path(secrets),
            shape=re.compile(rb"[A-Za-z0-9._~-]+"),
            shape_in_words="has other than letters, digits and . _ ~ - in it, which URLs change",
        ),
        "hmac": Kind(_signature, ("header", "algorithm", "encoding", "prefix", "secrets")),
        "standard-webhooks": Kind(_standard),
    }
)

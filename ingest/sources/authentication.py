"""How each kind of sender proves itself, pure.

A proof has two steps, as accepting has: what can be judged before the body is (`shown`), and a
signature waits for it as a `Claim`. Whoever fails learns nothing of what was wrong.

Secrets are compared in `_among` alone: in constant time, each with all candidates. Credentials that
are sent as they are, are kept and compared as SHA-256 hashes.
"""

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

Headers = Sequence[tuple[bytes, bytes]]
Algorithm = Literal["sha256", "sha1", "sha512"]
Encoding = Literal["hex", "base64", "base64url"]

# How far the time of a signature may be from ours, either way, in seconds (Standard Webhooks).
TOLERANCE = 300

_AUTHORIZATION = b"authorization"
_PREFIX = b"whsec_"
# Id and time are signed with a full stop between them: an id with one could be cut elsewhere.
_ID = re.compile(rb"[^.]+")
_STAMP = re.compile(rb"[0-9]{1,15}")
_MOST_SIGNATURES = 16
_FIRST_VERSION = re.compile(rb"(?<![^ ])v1,([^ ]+)")
_SEGMENT = re.compile(r"/([^/?]+)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A sender is proven as far as possible without the body; a claim is left for the body."""

    path: str = field(repr=False)
    claim: "Claim | None" = None


class Proof(Protocol):
    """What the senders of one source have to show."""

    def shown(self, path: str, headers: Headers) -> Shown | None:
        """Judge a request before its body; None if it is not proven.

        `path` is what followed the source; header names are in lower case.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Nothing:
    """Anybody may send."""

    def shown(self, path: str, headers: Headers) -> Shown:
        """Let everything pass."""
        del headers
        return Shown(path)


NOTHING = Nothing()


@dataclass(frozen=True, slots=True, eq=False)
class Credential:
    """A secret in a header, as it is or after the name of its scheme."""

    header: bytes
    scheme: bytes
    hashes: tuple[bytes, ...] = field(repr=False)

    def shown(self, path: str, headers: Headers) -> Shown | None:
        """Take the one header of that name; a second one makes it nobody's."""
        given = only(headers, self.header)
        if given is None:
            return None
        if self.scheme:
            scheme, _, given = given.partition(b" ")
            if scheme.lower() != self.scheme:
                return None
        return Shown(path) if _among([_hash(given.strip(b" \t"))], self.hashes) else None


@dataclass(frozen=True, slots=True, eq=False)
class PathSecret:
    """A secret as the first segment of the path; what goes on is the path without it."""

    hashes: tuple[bytes, ...] = field(repr=False)

    def shown(self, path: str, headers: Headers) -> Shown | None:
        """Look at the segment as it was sent, undecoded."""
        del headers
        found = _SEGMENT.fullmatch(path)
        if found is None:
            return None
        segment, rest = found.groups()
        return Shown(rest) if _among([_hash(segment.encode("latin-1"))], self.hashes) else None


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """How signatures are made: HMAC with one of the keys, written out."""

    algorithm: Algorithm
    encoding: Encoding
    keys: tuple[bytes, ...] = field(repr=False)

    def signatures(self, before: bytes, body: bytes) -> list[bytes]:
        """Every signature of a body that is right: with each key, in each accepted spelling."""
        found = []
        for key in self.keys:
            mac = hmac.new(key, before, self.algorithm)
            mac.update(body)
            text = _ENCODE[self.encoding](mac.digest())
            found += [text, text.rstrip(b"=")]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """Signatures that came with a body: one of them must be right, and of about now."""

    signer: Signer
    given: tuple[bytes, ...] = field(repr=False)
    before: bytes = field(default=b"", repr=False)
    sent_at: int | None = None

    def holds(self, body: bytes, *times: int) -> bool:
        """Judge the claim once the body is there; `times` are what clocks show, Unix ms."""
        right = _among(self.given, self.signer.signatures(self.before, body))
        apart = [abs(now - (self.sent_at or 0) * 1000) for now in times]
        timely = self.sent_at is None or min(apart) <= TOLERANCE * 1000
        return right and timely


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """A header holds an HMAC of the body, after a prefix perhaps."""

    header: bytes
    prefix: bytes
    signer: Signer

    def shown(self, path: str, headers: Headers) -> Shown | None:
        """Take the signature from its one header, to be judged with the body."""
        given = only(headers, self.header)
        if given is None or not given.startswith(self.prefix):
            return None
        given = given[len(self.prefix) :]
        # Hexadecimal digits may be of either case.
        given = given.lower() if self.signer.encoding == "hex" else given
        return Shown(path, Claim(self.signer, (given,)))


@dataclass(frozen=True, slots=True, eq=False)
class StandardWebhook:
    """Standard Webhooks: id, time and body are signed; several signatures may be given."""

    signer: Signer

    def shown(self, path: str, headers: Headers) -> Shown | None:
        """Take id, time and signatures of version 1, to be judged with the body."""
        id_ = only(headers, b"webhook-id")
        stamp = only(headers, b"webhook-timestamp")
        signatures = only(headers, b"webhook-signature")
        if id_ is None or stamp is None or signatures is None:
            return None
        if not _ID.fullmatch(id_) or not _STAMP.fullmatch(stamp):
            return None
        given = tuple(_FIRST_VERSION.findall(signatures))
        if len(given) > _MOST_SIGNATURES:
            return None
        return Shown(path, Claim(self.signer, given, b"%s.%s." % (id_, stamp), int(stamp)))


def header(name: str, secrets: Iterable[bytes]) -> Credential:
    """A header of that name holds a secret, and nothing else."""
    return Credential(name.lower().encode(), b"", _hashes(secrets))


def bearer(secrets: Iterable[bytes]) -> Credential:
    """`Authorization: Bearer <secret>` (RFC 6750)."""
    return Credential(_AUTHORIZATION, b"bearer", _hashes(secrets))


def basic(user: str, secrets: Iterable[bytes]) -> Credential:
    """`Authorization: Basic <user:secret in base64>` (RFC 7617)."""
    pairs = (b64encode(user.encode() + b":" + secret) for secret in secrets)
    return Credential(_AUTHORIZATION, b"basic", _hashes(pairs))


def path(secrets: Iterable[bytes]) -> PathSecret:
    """`/webhooks/<source>/<secret>`, and anything after it."""
    return PathSecret(_hashes(secrets))


def signature(
    name: str, algorithm: Algorithm, encoding: Encoding, prefix: str, secrets: Iterable[bytes]
) -> Signature:
    """A header of that name holds the prefix and the HMAC of the body."""
    signer = Signer(algorithm, encoding, tuple(secrets))
    return Signature(name.lower().encode(), prefix.encode(), signer)


def standard_webhook(keys: Iterable[bytes]) -> StandardWebhook:
    """`webhook-id`, `webhook-timestamp`, `webhook-signature` (standardwebhooks.com)."""
    return StandardWebhook(Signer("sha256", "base64", tuple(keys)))


def standard_key(secret: bytes) -> bytes | None:
    """The key that a secret of Standard Webhooks stands for; None if it is none."""
    if not secret.startswith(_PREFIX):
        return None
    try:
        return b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return None


def only(headers: Headers, wanted: bytes) -> bytes | None:
    """The value of the only header of that name; None if there is none, or more than one."""
    values = [value for name, value in headers if name == wanted]
    return values[0] if len(values) == 1 else None


def _hashes(secrets: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(map(_hash, secrets))


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _among(given: Iterable[bytes], candidates: Sequence[bytes]) -> bool:
    """Whether any of the given is one of the candidates; all are compared, whatever is found."""
    found = False
    for one in given:
        for candidate in candidates:
            found |= hmac.compare_digest(one, candidate)
    return found


_ENCODE: Mapping[Encoding, Callable[[bytes], bytes]] = MappingProxyType(
    {
        "hex": binascii.hexlify,
        "base64": b64encode,
        "base64url": urlsafe_b64encode,
    }
)

"""`auth = "hmac"`: a header that holds the HMAC of the body. Pure."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from ingest.sources.mistakes import wrong
from ingest.sources.proofs.comparison import among
from ingest.sources.proofs.contract import Needs, Proven, Request, SecretProof
from ingest.sources.proofs.header_name import HeaderName
from ingest.sources.proofs.hmac_signatures import Algorithm, Encoding, signatures


def _fit_prefix(value: str) -> str:
    if not value.isascii() or not value.isprintable() or value.startswith(" "):
        raise wrong("it has other than printable ASCII in it, or begins with a space")
    return value


class BodyHmac(SecretProof):
    """The signature is in the one header of that name, after `prefix`."""

    needs: ClassVar[Needs] = "head and body"

    auth: Literal["hmac"]
    header: HeaderName
    algorithm: Annotated[
        Algorithm, Field(examples=['algorithm = "sha256", "sha1" or "sha512"'])
    ] = "sha256"
    encoding: Annotated[Encoding, Field(examples=['encoding = "hex", "base64" or "base64url"'])] = (
        "hex"
    )
    prefix: Annotated[
        str, AfterValidator(_fit_prefix), Field(examples=['prefix = "sha256=", for example'])
    ] = ""

    def expects(self, request: Request) -> bool:
        return self._given(request) is not None

    def check(
        self, request: Request, secrets: Sequence[bytes], now: Sequence[int]
    ) -> Proven | None:
        del now
        given = self._given(request)
        if given is None or request.body is None:
            return None
        right = signatures(secrets, self.algorithm, self.encoding, request.body)
        return Proven(request.path) if among([given], right) else None

    def _given(self, request: Request) -> bytes | None:
        value = request.only(self.header.lower().encode())
        prefix = self.prefix.encode()
        if value is None or not value.startswith(prefix):
            return None
        given = value[len(prefix) :]
        # Hexadecimal digits may be of either case.
        return given.lower() if self.encoding == "hex" else given

"""The kinds of proof that `auth` may name; a new kind needs its module and a line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, get_args

from pydantic import Field, TypeAdapter

from ingest.sources.proofs.authorization import BasicCredentials, BearerToken
from ingest.sources.proofs.body_hmac import BodyHmac
from ingest.sources.proofs.contract import Proof
from ingest.sources.proofs.header_secret import HeaderSecret
from ingest.sources.proofs.no_proof import NoProof
from ingest.sources.proofs.path_secret import PathSecret
from ingest.sources.proofs.standard_webhooks import StandardWebhooks

AnyProof = (
    NoProof
    | HeaderSecret
    | BearerToken
    | BasicCredentials
    | PathSecret
    | BodyHmac
    | StandardWebhooks
)

KINDS: Mapping[str, type[Proof]] = MappingProxyType(
    {get_args(kind.model_fields["auth"].annotation)[0]: kind for kind in get_args(AnyProof)}
)

proof_of: TypeAdapter[AnyProof] = TypeAdapter(Annotated[AnyProof, Field(discriminator="auth")])

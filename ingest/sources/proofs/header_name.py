"""The name of the header that carries a proof. Pure."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from ingest.sources.mistakes import wrong
from schemas.webhook import KEPT_HEADERS

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_STORED = KEPT_HEADERS | {"content-type"}


def _fit(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise wrong("it is not the name of a header")
    if value.lower() in _STORED:
        raise wrong("it names a header that is stored with the body")
    return value


HeaderName = Annotated[
    str, AfterValidator(_fit), Field(examples=['header = "X-Webhook-Token", for example'])
]

"""A connection that shows why connections fail: aiokafka logs the errors, and reports none.

Its private parts are used here, with the evidence in docs/decisions/0003-aiokafka.md.
"""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any

from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator
from aiokafka.errors import KafkaError, SaslAuthenticationFailed
from aiokafka.protocol.metadata import MetadataRequest

from service.kafka.causes import Failure, Stage

Address = tuple[str, int]


class _Connection(AIOKafkaConnection):
    """A connection that remembers how far it came, and which mechanisms the broker offers."""

    stage: Stage = "connecting"
    offered: tuple[str, ...] = ()

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:  # noqa: FBT001, FBT002 - aiokafka's
        return self._noted(super().send(request, expect_response))  # type: ignore[no-untyped-call]

    async def _noted(self, answer: Awaitable[Any]) -> Any:
        got = await answer
        self.offered = tuple(getattr(got, "enabled_mechanisms", self.offered))
        return got

    async def _do_version_lookup(self) -> None:
        self.stage = "greeting"
        await super()._do_version_lookup()  # type: ignore[no-untyped-call]

    async def _do_sasl_handshake(self) -> None:
        self.stage = "login"
        await super()._do_sasl_handshake()  # type: ignore[no-untyped-call]

    def authenticator_oauth(self) -> "_Tokens":
        return _Tokens(  # type: ignore[no-untyped-call]
            sasl_oauth_token_provider=self._sasl_oauth_token_provider
        )


class _Tokens(OAuthAuthenticator):
    """The login by a token; aiokafka takes the broker's refusal for a success."""

    async def step(self, payload: bytes | None) -> Any:
        if payload:
            raise SaslAuthenticationFailed(_status(payload))
        return await super().step(payload)  # type: ignore[no-untyped-call]


def _status(payload: bytes) -> str:
    try:
        return str(json.loads(payload)["status"])
    except (KeyError, TypeError, ValueError):
        return "the broker does not say why"


async def probe(
    address: Address, options: Mapping[str, Any], seconds: float, *, from_broker: bool = False
) -> tuple[Failure | None, list[Address]]:
    """Connect, log in and ask for the brokers; return the failure, if any, and their addresses."""
    login = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    connection = _Connection(  # type: ignore[no-untyped-call]
        *address, request_timeout_ms=round(seconds * 1000), **login
    )
    try:
        async with asyncio.timeout(seconds):
            await connection.connect()  # type: ignore[no-untyped-call]
            connection.stage = "request"
            answer = await connection.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError, ValueError) as error:
        named = "{}:{}".format(*address)
        return Failure(named, error, connection.stage, connection.offered, from_broker), []
    finally:
        connection.close()  # type: ignore[no-untyped-call]
    return None, [(host, port) for _, host, port, *_ in answer.brokers]

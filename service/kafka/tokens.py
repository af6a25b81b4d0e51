"""The tokens of OAUTHBEARER: from a file, or from a command.

A file is read for each connection. A command's token is used again until shortly before its end.
"""

import asyncio
import base64
import binascii
import json
import shlex
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from service.errors import system_reason

_COMMAND_SECONDS = 10.0
# A token is not used in its last seconds; one that does not say its end is used for a minute.
_MARGIN_SECONDS = 30.0
_UNKNOWN_SECONDS = 60.0


class TokenError(KafkaError):
    """There is no token; the text says why, without the token."""


class FromFile(AbstractTokenProvider):
    """Reads the token from a file, which another program keeps fresh."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def token(self) -> str:
        try:
            text = await asyncio.to_thread(self._file.read_text)
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise TokenError(f"{self._file} cannot be read ({why})") from None
        if not (token := text.strip()):
            raise TokenError(f"{self._file} is empty")
        return token


class FromCommand(AbstractTokenProvider):
    """Runs a command that prints the token; its errors go to the process's own."""

    def __init__(self, command: str, clock: Callable[[], float] = time.time) -> None:
        self._command = command
        self._clock = clock
        self._token = ""
        self._until = 0.0

    async def token(self) -> str:
        now = self._clock()
        if now >= self._until:
            self._token = await self._run()
            self._until = end(self._token, now) - _MARGIN_SECONDS
        return self._token

    async def _run(self) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
        except (OSError, ValueError) as error:
            raise TokenError(f"the command cannot be run ({system_reason(error)})") from None
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                printed, _ = await process.communicate()
        except TimeoutError:
            raise TokenError(f"the command did not end within {_COMMAND_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise TokenError(f"the command ended with exit code {process.returncode}")
        if not (token := printed.decode(errors="replace").strip()):
            raise TokenError("the command printed nothing")
        return token


@cache
def from_command(command: str) -> FromCommand:
    """Return the provider of a command, one for all clients of the process."""
    return FromCommand(command)


def end(token: str, now: float) -> float:
    """Return when a token ends, in Unix seconds: its claim `exp` if it is a JWT, else a guess."""
    try:
        payload = token.split(".")[1]
        padded = payload + "=" * (-len(payload) % 4)
        return float(json.loads(base64.urlsafe_b64decode(padded))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return now + _UNKNOWN_SECONDS + _MARGIN_SECONDS

"""Whether a body speaks for accounts of its source, and the account of a body without one. Pure.

The source's accounts at reception travel with the raw record, so a replay decides as the first
pass did. A correction (today's sources file) only adds: what reception permitted stays permitted
under the same account, so no message key changes.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType

import msgspec
from msgspec import Struct

from providers.rejection import Refused
from schemas.accounts import NO_ACCOUNT, Patterns, matches, only
from schemas.webhook import RawWebhook

Corrections = Mapping[str, Patterns | None]
"""Accounts by source name, permitted in addition to the accounts at reception."""

UNCORRECTED: Corrections = MappingProxyType({})


def fingerprint(corrections: Corrections) -> str | None:
    """Return a short text that identifies the corrections; None without corrections."""
    if not corrections:
        return None
    return sha256(msgspec.json.encode(corrections, order="deterministic")).hexdigest()[:16]


class Accounts(Struct, frozen=True, gc=False):
    """The accounts a body may speak for; `permitted` None means every account.

    `own` is the account of a body that names none.
    """

    permitted: Patterns | None = None
    own: str | None = None

    def permit(self, account: str) -> bool:
        if self.permitted is None or account == self.own:
            return True
        return account != NO_ACCOUNT and matches(self.permitted, account)


EVERY = Accounts()


class ForeignAccountError(Refused):
    """An item speaks for an account that is not its source's."""

    def __init__(self, account: str) -> None:
        super().__init__("foreign_account", _REASONS[account == NO_ACCOUNT])
        self.account = account


_REASONS = {
    False: "its account is none of its source's; see `accounts` in docs/sources.md",
    True: "it names no account, and its source does not name exactly one; see docs/sources.md",
}


def accounts_of(webhook: RawWebhook, corrections: Corrections) -> Accounts:
    """Return the accounts that a webhook may speak for."""
    received = webhook.accounts
    if received is None:
        return EVERY
    if webhook.source not in corrections:
        return _received(received)
    own, corrected = only(received), corrections[webhook.source]
    permitted = None if corrected is None else received + corrected
    return Accounts(permitted, own or only(corrected))


@lru_cache(maxsize=1024)  # sources are few, webhooks are many
def _received(received: Patterns) -> Accounts:
    return Accounts(received, only(received))


def refuse_foreign(permitted: Accounts, accounts: Iterable[str]) -> None:
    """Raise `ForeignAccountError` for the first account that is not permitted."""
    for account in accounts:
        if not permitted.permit(account):
            raise ForeignAccountError(account)

"""The status of a provider's status word; a word that its table lacks is `unknown`. Pure."""

from collections.abc import Mapping

from schemas.records import Status


def status_of(word: str, statuses: Mapping[str, Status]) -> Status:
    """Return the status of a word, `unknown` for one that is not in the provider's table.

    An unknown word is neither an error nor a guess: the observation keeps it.
    """
    return statuses.get(word, "unknown")

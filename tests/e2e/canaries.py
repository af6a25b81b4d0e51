"""Unique words and numbers, to search all outputs for."""

import base64
import secrets


class Canaries:
    """Unique words, by their meaning."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def word(self, what: str) -> str:
        return self.words.setdefault(what, f"canary{secrets.token_hex(12)}")

    def number(self, what: str) -> str:
        return self.words.setdefault(what, f"420{secrets.randbelow(10**9):09d}")

    def found(self, sinks: dict[str, str]) -> list[str]:
        """Return which of the words occur in which output, also in base64."""
        spellings = {
            f"{what}{kind}": text
            for what, word in self.words.items()
            for kind, text in (
                ("", word),
                (", in base64", base64.b64encode(word.encode()).decode().rstrip("=")),
            )
        }
        return [
            f"{what} in {sink}"
            for sink, output in sinks.items()
            for what, text in spellings.items()
            if text in output
        ]

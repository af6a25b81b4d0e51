r"""JSON as commands write it: no character in it can command a terminal. Pure.

Providers' words are in the JSON, and JSON allows all but C0 controls unescaped: C1 controls (to
some terminals U+009B is ESC [), DEL, overrides of the writing direction. They are written as
\uXXXX; the JSON has the same value.
"""

import json
import re

import msgspec

_DOUBTFUL = re.compile(r"[^ -~\n]")


def as_text(value: object) -> str:
    """Return a value as JSON on one line, with all invisible characters escaped."""
    text = msgspec.json.encode(value).decode()
    return text if text.isascii() and text.isprintable() else _DOUBTFUL.sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]

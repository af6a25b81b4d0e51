"""How the settings reach Kafka and log in there, and which of them contradict each other. Pure."""

from collections.abc import Collection
from typing import Any, NamedTuple

from service.setting_names import variable

_SASL_LOGIN = ("username", "password", "password_file")
_TOKEN = ("token_file", "token_command")
_TLS = ("ca_file", "certificate_file", "key_file", "key_password", "key_password_file")

SECURITY_SETTINGS = (*_SASL_LOGIN, *_TOKEN, *_TLS)
"""The settings of the login and of TLS that have no default."""

_TWO_SOURCES = (
    ("password", "password_file"),
    ("key_password", "key_password_file"),
    ("token_file", "token_command"),
)
_PAIRS = (
    ("certificate_file", "key_file"),
    ("key_file", "certificate_file"),
    ("key_password", "key_file"),
    ("key_password_file", "key_file"),
)

CONTRADICTIONS = (
    "settings_exclude",
    "setting_alone",
    "settings_need_sasl",
    "settings_need_tls",
    "settings_unused",
    "login_lacks",
)
"""The codes of `contradiction`."""

Wrong = tuple[str, dict[str, Any]]
"""A problem as its code and fields."""


class Access(NamedTuple):
    """How Kafka is reached; `given` are the names of the `SECURITY_SETTINGS` that are set."""

    kafka: str
    security: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    given: frozenset[str] = frozenset()

    @property
    def sasl(self) -> bool:
        return self.security.startswith("SASL")

    @property
    def tls(self) -> bool:
        return self.security.endswith("SSL")

    @property
    def tokens(self) -> bool:
        """Whether the login is by a token (OAUTHBEARER)."""
        return self.sasl and self.mechanism == "OAUTHBEARER"

    @property
    def user(self) -> str:
        """The user as Kafka knows it, or where Kafka takes its name from."""
        if self.tokens:
            return f"of the token ({self.token_setting})"
        if self.sasl:
            return f"{self.username} ({variable('username')})"
        if self.tls and "certificate_file" in self.given:
            return f"of the client certificate ({variable('certificate_file')})"
        return "ANONYMOUS"

    @property
    def principal(self) -> str:
        """The principal for kafka-acls, or a word in capitals for what only Kafka knows."""
        if self.tokens:
            return "SUBJECT"
        if self.sasl:
            return str(self.username)
        return "CN=NAME" if self.tls and "certificate_file" in self.given else "ANONYMOUS"

    @property
    def token_setting(self) -> str:
        return variable("token_file" if "token_file" in self.given else "token_command")

    @property
    def password_setting(self) -> str:
        return variable("password_file" if "password_file" in self.given else "password")


def contradiction(access: Access) -> Wrong | None:
    """Return the first contradiction of the settings, as code and fields; None if there is none."""
    return (
        _two_sources(access.given)
        or _half_a_pair(access.given)
        or _outside(access)
        or _lacking(access)
    )


def _two_sources(given: Collection[str]) -> Wrong | None:
    for pair in _TWO_SOURCES:
        if {*pair} <= {*given}:
            return "settings_exclude", {"settings": _variables(pair)}
    return None


def _half_a_pair(given: Collection[str]) -> Wrong | None:
    for one, needed in _PAIRS:
        if one in given and needed not in given:
            return "setting_alone", {"setting": variable(one), "needed": variable(needed)}
    return None


def _outside(access: Access) -> Wrong | None:
    """Report settings that the protocol or the mechanism would ignore."""
    sasl = [name for name in (*_SASL_LOGIN, *_TOKEN) if name in access.given]
    tls = [name for name in _TLS if name in access.given]
    if sasl and not access.sasl:
        return "settings_need_sasl", {"settings": _variables(sasl), "security": access.security}
    if tls and not access.tls:
        return "settings_need_tls", {"settings": _variables(tls), "security": access.security}
    unused = [name for name in sasl if name in (_SASL_LOGIN if access.tokens else _TOKEN)]
    if unused:
        return "settings_unused", {"settings": _variables(unused), "mechanism": access.mechanism}
    return None


def _lacking(access: Access) -> Wrong | None:
    """Report the settings without which the mechanism cannot log in."""
    if not access.sasl:
        return None
    needed = (_TOKEN,) if access.tokens else (("username",), ("password", "password_file"))
    missing = [names for names in needed if not {*names} & access.given]
    if not missing:
        return None
    words = [" or ".join(_variables(names)) for names in missing]
    return "login_lacks", {
        "security": access.security,
        "mechanism": access.mechanism,
        "missing": words,
    }


def _variables(names: Collection[str]) -> list[str]:
    return [variable(name) for name in names]

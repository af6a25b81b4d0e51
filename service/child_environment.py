"""The environment of a child process: an allowlist of the parent's variables. Pure.

Users choose the names of the variables that hold secrets, so a denylist cannot know them. Kafka's
JVM gets the system's variables, a service also its settings, ingest also its sources' secrets.
"""

from collections.abc import Collection, Mapping

_SYSTEM = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "HOSTNAME", "TMPDIR", "TZ", "TZDIR", "LANG"),
        *("LANGUAGE", "TERM", "COLUMNS", "NO_COLOR", "VIRTUAL_ENV", "SSL_CERT_FILE"),
        *("SSL_CERT_DIR", "JAVA_HOME", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"),
    }
)
_SYSTEM_PREFIXES = ("LC_", "LD_", "DYLD_", "XDG_", "PYTHON", "MALLOC_")
# Bluetick's own settings, and those of OpenTelemetry, which Bluetick leaves to its library.
_SETTINGS_PREFIXES = ("BLUETICK_", "OTEL_")


def system(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the operating system and of language runtimes."""
    return {
        name: value
        for name, value in environment.items()
        if name in _SYSTEM or name.startswith(_SYSTEM_PREFIXES)
    }


def service(environment: Mapping[str, str], more: Collection[str] = ()) -> dict[str, str]:
    """Return the system's variables, the settings, and the variables named in `more`."""
    chosen = {
        name: value
        for name, value in environment.items()
        if name.startswith(_SETTINGS_PREFIXES) or name in more
    }
    return system(environment) | chosen

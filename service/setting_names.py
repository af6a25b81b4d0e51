"""The names of settings: each one is an environment variable. Pure."""


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"BLUETICK_{name.upper()}"

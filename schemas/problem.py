"""The one error meant for a person: a sentence that says what is wrong, where, what to do."""


class Problem(Exception):
    """Something the operator or caller can mend; the command line prints it without a traceback."""


def unreachable(kafka: str, error: BaseException | None = None) -> Problem:
    """Kafka is silent: the same words wherever it is met; `kafka` is the setting."""
    why = f": {type(error).__name__}" if error else ""
    return Problem(
        f"Kafka does not answer at {kafka} (BLUETICK_KAFKA){why}; "
        "start it, or correct the address or the credentials"
    )

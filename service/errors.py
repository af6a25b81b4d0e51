"""The one error meant for a person: a sentence that says what is wrong, where, what to do.

Sentences that more than one part has to say stand here.
"""


class Problem(Exception):
    """Something the operator or caller can mend; the command line prints it without a traceback."""


def unreachable(kafka: str, error: BaseException | None = None) -> Problem:
    """Kafka is silent: the same words wherever it is met; `kafka` is the setting."""
    why = f": {type(error).__name__}" if error else ""
    return Problem(
        f"Kafka does not answer at {kafka} (BLUETICK_KAFKA){why}; "
        "start it, or correct the address or the credentials"
    )


def missing(topic: str, where: str = "") -> str:
    """Say that a topic is not there; `where` is the cluster, if that is in doubt."""
    place = f" on {where}" if where else ""
    return f"the topic {topic} does not exist{place}; create it with: bluetick topics apply"


def cut_differently(topic: str, found: int, expected: int) -> str:
    """Say that a topic has another number of partitions: keys would move away from their state."""
    return (
        f"the topic {topic} has {found} partitions, not the {expected} of "
        "BLUETICK_PARTITIONS; change that setting, or use another namespace"
    )

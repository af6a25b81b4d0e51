"""Strimzi's objects for the topics and the users, from the same tables as everything else.

`python -m deploy.strimzi topics` and `… users` print the two files of
`deploy/kubernetes/components/strimzi/`, for the namespace, partitions and replicas of the settings.
A namespace with a letter that Kubernetes does not allow in a name needs other names by hand.
"""

import sys
from collections.abc import Iterable, Iterator

from deploy.acls import grouped
from deploy.topics import expected
from schemas.processor_list import NORMALISE
from schemas.rights import Right, rights
from schemas.topics import Topics, TopicSpec
from service.settings import Settings, load

# With three copies a write waits for two of them.
_REPLICATION = 3

# What each user may do: the rights of these commands. The services have a user each.
USERS = {
    **{name: (name,) for name in ("ingest", "normalise", "track", "measure", "archive")},
    # Its pages also show the system, retry and replay.
    "console": ("console", "doctor", "dead-letters retry", "replay"),
    "operator": ("replay", "dead-letters retry", "tail", "doctor", "topics check"),
}

# Strimzi's words for the kinds of resources.
_KINDS: dict[str, str] = {"transactional-id": "transactionalId"}

_TOPIC = """\
---
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata:
  name: {name}
  labels:
    strimzi.io/cluster: kafka
spec:
  topicName: {name}
  partitions: {partitions}
  replicas: {replicas}
  config:
"""

_USER = """\
---
apiVersion: kafka.strimzi.io/v1
kind: KafkaUser
metadata:
  name: {name}
  labels:
    strimzi.io/cluster: kafka
spec:
  authentication:
    type: scram-sha-512
  authorization:
    type: simple
    acls:
"""

_ACL = """\
      - resource:
          type: {type}
          name: {name}
          patternType: {pattern}
        operations: [{operations}]
"""


def topic(spec: TopicSpec, replicas: int) -> str:
    """Return the KafkaTopic of a topic, as YAML."""
    config = expected(spec, replicas)
    head = _TOPIC.format(name=spec.name, partitions=spec.partitions, replicas=replicas)
    return head + "".join(f'    {name}: "{value}"\n' for name, value in config.items())


def user(name: str, needed: Iterable[Right]) -> str:
    """Return the KafkaUser with exactly these rights, as YAML."""
    return _USER.format(name=name) + "".join(_acls(needed))


def topics(settings: Settings) -> Iterator[str]:
    """Yield the KafkaTopic of each topic of the namespace."""
    for spec in settings.topics.specs(settings.partitions):
        yield topic(spec, settings.replication or _REPLICATION)


def users(names: Topics) -> Iterator[str]:
    """Yield the KafkaUser of each service and of the people, and that of KEDA, which reads lags."""
    for name, commands in USERS.items():
        needed = (right for command in commands for right in rights(command, names))
        yield user(f"bluetick-{name}", needed)
    lag = [Right("topic", raw, "Describe") for raw in names.raw_topics]
    yield user("bluetick-keda", [*lag, Right("group", names.group(NORMALISE.name), "Describe")])


def _acls(needed: Iterable[Right]) -> Iterator[str]:
    """Yield an ACL for each resource, with all its operations."""
    for resource, prefixed, operations, names in grouped(dict.fromkeys(needed)):
        for name in names:
            yield _ACL.format(
                type=_KINDS.get(resource, resource),
                name=name,
                pattern="prefix" if prefixed else "literal",
                operations=", ".join(operations),
            )


def main(what: str) -> None:
    """Print the objects."""
    settings = load()
    made = topics(settings) if what == "topics" else users(settings.topics)
    sys.stdout.write(f"# Written by `python -m deploy.strimzi {what}`.\n" + "".join(made))


if __name__ == "__main__":
    main(sys.argv[1])

"""Look up messages in a table made from the compacted topic `messages`: an example to copy.

It reads the topic to its present end, then prints the messages. A service would continue to read,
and would keep the table (or the fields that it needs) in its own database.
"""

import argparse
import asyncio
import json
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

KNOWN_VERSION = 2
POLL_MS = 500


async def load(consumer: AIOKafkaConsumer, topic: str) -> dict[str, Any]:
    """Return the latest state of each message; a null value means that the state was dropped."""
    if topic not in await consumer.topics():
        sys.exit(f"table: the topic {topic} does not exist; is the namespace right?")
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.end_offsets(consumer.assignment())  # loads the topic's partitions
    consumer.assign([TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()])
    table: dict[str, Any] = {}
    for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
        # The position also passes offsets without records: the markers of transactions.
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    key = (record.key or b"").decode()
                    if record.value is None:
                        table.pop(key, None)
                    else:
                        table[key] = json.loads(record.value)
    return table


def describe(state: dict[str, Any] | None) -> str:
    """Return a message's status and its gateways; a newer format ends the program."""
    if state is None:
        return "not known"
    if state["version"] > KNOWN_VERSION:
        sys.exit(f"table: the state has version {state['version']}; this program supports 2")
    return f"{state.get('status', '-')} by {', '.join(state.get('attempts', {})) or 'none'}"


async def run(bootstrap: str, namespace: str, keys: list[str]) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # compaction may delete the next record
    )
    try:
        await consumer.start()
        table = await load(consumer, f"{namespace}.messages")
    except KafkaError as error:
        sys.exit(
            f"table: Kafka at {bootstrap}, topic {namespace}.messages: {error!r}; is it running?"
        )
    finally:
        await consumer.stop()
    for key in keys:
        print(f"{key}\t{describe(table.get(key))}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the status of messages.")
    parser.add_argument("bootstrap", help="Kafka's bootstrap address, host:port")
    parser.add_argument("namespace", help="the prefix of the topics, usually bluetick")
    parser.add_argument("keys", nargs="+", help="message keys: provider/account/message_id")
    given = parser.parse_args()
    asyncio.run(run(given.bootstrap, given.namespace, given.keys))


if __name__ == "__main__":
    main()

"""The commands of Kafka's tool for a table of rights."""

from deploy.acls import kafka_acls, rows
from schemas.rights import Right

NEEDED = (
    Right("topic", "a", "Read"),
    Right("topic", "a", "Write"),
    Right("topic", "b", "Write"),
    Right("topic", "c", "Write"),
    Right("transactional-id", "x.", "Write", prefixed=True),
)


def test_one_command_for_the_same_operations() -> None:
    start = "kafka-acls.sh --bootstrap-server k:1 --command-config client.properties --add "
    user = "--allow-principal 'User:u' "
    assert list(kafka_acls(NEEDED, "User:u", "k:1")) == [
        start + user + "--operation Read --operation Write --topic a",
        start + user + "--operation Write --topic b --topic c",
        start + user + "--operation Write --transactional-id x. --resource-pattern-type prefixed",
    ]


def test_rows_for_people() -> None:
    assert list(rows(NEEDED)) == [
        ("topic", "a", "Read, Write"),
        ("topic", "b, c", "Write"),
        ("transactional-id", "x.*", "Write"),
    ]

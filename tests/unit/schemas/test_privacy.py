"""The policy for personal data: its forms, its keys and when each is in use, its hashes."""

import re

import pytest

from schemas.privacy import (
    KEEP,
    Key,
    Policy,
    Privacy,
    hashed_id,
    hashed_number,
    hashed_viewer,
    keys_of,
    policy_of,
)

OLD, NEW = Key("k1", 0, "0123456789abcdef"), Key("k2", 1_777_636_800_000, "fedcba9876543210")
MAY = "2026-05-01T12:00Z"


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("keep", KEEP),
        ("numbers:hash", Policy("hash")),
        (" numbers:omit , texts:omit", Policy("omit", "omit")),
        ("payload:omit", Policy(payload="omit")),
        ("numbers:keep,texts:keep", KEEP),
    ],
)
def test_a_policy(text: str, policy: Policy) -> None:
    """Its text is the shortest form, and has the same meaning."""
    assert policy_of(text) == policy
    assert policy_of(str(policy)) == policy


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is none of numbers, texts, payload"),
        ("hash", "'hash' is none of"),
        ("names:hash", "'names:hash' is none of"),
        ("numbers:mask", "numbers is one of keep, hash, omit, not 'mask'"),
        ("texts:hash", "texts is one of keep, omit, not 'hash'"),
        ("texts:omit,texts:omit", "texts is there twice"),
    ],
)
def test_a_policy_of_no_form(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        policy_of(text)


@pytest.mark.parametrize(
    ("policy", "needs"),
    [(KEEP, False), (Policy("hash"), True), (Policy("omit"), True), (Policy("keep", "omit"), True)],
)
def test_what_needs_a_key(policy: Policy, *, needs: bool) -> None:
    """Ids that are made from numbers and texts are hashed if either is excluded."""
    assert policy.needs_key is needs
    assert not Policy(payload="omit").needs_key


@pytest.mark.parametrize(
    "text",
    [
        f"k1={OLD.secret}\nk2@{MAY}={NEW.secret}\n",
        f"k2@2026-05-01T14:00+02:00={NEW.secret}, k1={OLD.secret}",
    ],
)
def test_keys(text: str) -> None:
    """The newest comes first, whatever the order of the lines."""
    assert keys_of(text) == (NEW, OLD)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a key has the form <id>=<secret>"),
        (OLD.secret, "a key has the form"),
        (f"k-1={OLD.secret}", "a key has the form"),
        (f"{'k' * 17}={OLD.secret}", "a key has the form"),
        ("k1=short", "the secret of the key k1 is shorter than 16 characters"),
        (f"k1={OLD.secret},k2={NEW.secret}", "each key but the oldest needs a time of its own"),
        (f"k1={OLD.secret},k1@{MAY}={NEW.secret}", "two keys have one id"),
        (f"k1@soon={OLD.secret}", "the key k1 has no time such as"),
        (f"k1@2026-05-01T12:00={OLD.secret}", "the key k1 has no time such as"),
    ],
)
def test_keys_of_no_form(text: str, why: str) -> None:
    """No sentence quotes a secret."""
    with pytest.raises(ValueError, match=re.escape(why)) as refused:
        keys_of(text)
    assert OLD.secret not in str(refused.value)
    assert "short," not in str(refused.value)


@pytest.mark.parametrize(
    ("received_at", "key"), [(0, OLD), (NEW.since - 1, OLD), (NEW.since, NEW), (2**53, NEW)]
)
def test_the_key_in_use(received_at: int, key: Key) -> None:
    """It follows from the reception, not from the time of processing."""
    assert Privacy(Policy("hash"), (NEW, OLD)).at(received_at) == key


def test_a_time_before_every_key() -> None:
    assert Privacy(Policy("hash"), (NEW,)).at(0) == NEW


def test_hashes() -> None:
    """Each has the id of its key, a bounded length, and depends on value, key and purpose."""
    number = "420777123456"
    found = [
        hashed_number(OLD, number),
        hashed_number(OLD, "420777123457"),
        hashed_number(NEW, number),
        hashed_viewer(OLD, number, "p/-/1"),
        hashed_viewer(OLD, number, "p/-/2"),
        hashed_id(OLD, number),
    ]
    assert len({*found}) == len(found)
    assert all(re.fullmatch(r"h1:k[12]:[0-9a-f]{32}", one) for one in found)
    assert found[0] == hashed_number(OLD, number)
    # As docs/privacy.md has it, for other programs.
    assert found[0] == "h1:k1:2134daedb1bf0515fbe03f06023da49f"

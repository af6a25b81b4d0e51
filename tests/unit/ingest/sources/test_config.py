"""A file of sources: what a right one makes, and every sentence about a wrong one."""

from ipaddress import ip_network

import pytest

from ingest.admission import Rejected, accept, screen
from ingest.sources.config import KINDS, Finding, read, source, unrestricted, weakness
from schemas.webhook import KEPT_HEADERS

SECRET = b"a secret of 22 bytes.."
_NOW = 1_767_225_600_000

_ALL = """
trusted_proxies = ["10.0.0.0/8", "::1"]

[sources.shop]
provider = "smsmanager"
auth = "hmac"
secrets = ["env:SHOP_NEW", "file:/run/secrets/shop old"]
addresses = ["203.0.113.0/24", "2001:db8::/32", "198.51.100.7"]
accounts = ["shop/1"]

[sources.signed]
provider = "whapi"
auth = "hmac"
header = "X-Sig"
algorithm = "sha512"
encoding = "base64url"
prefix = "v0="
secrets = ["env:A"]
accounts = ["MANTIS-M72HC", "TENANT-?-*"]

[sources]
header = { provider = "whapi", auth = "header", header = "X-Token", secrets = ["env:A"] }
bearer = { provider = "whapi", auth = "bearer", secrets = ["env:A"] }
basic = { provider = "whapi", auth = "basic", user = "u", secrets = ["env:A"] }
path = { provider = "whapi", auth = "path", secrets = ["env:A"] }
standard = { provider = "whapi", auth = "standard-webhooks", secrets = ["env:A"] }
anybody = { provider = "whapi", auth = "none" }
"""


def test_a_right_file_is_read() -> None:
    """Every kind, with its own keys, its presets, the places of its secrets and its networks."""
    reading = read(_ALL)
    assert reading.findings == ()
    declared = {one.name: one for one in reading.declared}
    assert {one.auth for one in reading.declared} == set(KINDS)
    shop = declared["shop"]
    assert shop.provider == "smsmanager"
    assert shop.options == {
        "header": "X-Request-Signature",
        "algorithm": "sha256",
        "encoding": "hex",
        "prefix": "",
    }
    assert [(str(place), place.line) for place in shop.places] == [
        ("env:SHOP_NEW", 7),
        ("file:/run/secrets/shop old", 7),
    ]
    assert [str(network) for network in shop.networks] == [
        "203.0.113.0/24",
        "2001:db8::/32",
        "198.51.100.7/32",
    ]
    assert reading.proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert declared["signed"].options == {
        "header": "X-Sig",
        "algorithm": "sha512",
        "encoding": "base64url",
        "prefix": "v0=",
    }
    assert shop.accounts == ("shop/1",)
    assert declared["signed"].accounts == ("MANTIS-M72HC", "TENANT-?-*")
    assert declared["header"].accounts is None
    assert source(declared["signed"], [SECRET]).accounts == ("MANTIS-M72HC", "TENANT-?-*")
    assert unrestricted(reading.declared) == [
        ("whapi", ("header", "bearer", "basic", "path", "standard", "anybody"))
    ]


def test_line_ends_are_any() -> None:
    """Windows' line ends change neither what is read nor where it stands."""
    assert read(_ALL.replace("\n", "\r\n")) == read(_ALL)


_OK = 'provider = "whapi"\nauth = "none"\n'


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("", ["1: the file names no source"]),
        ("sources = 1", ["1: the file names no source"]),
        ("\nsources = {}", ["2: the file names no source"]),
        ("[[sources]]\n", ["1: the file names no source"]),
        ("[sources\n", ["1: this is no TOML: Expected ']'"]),
        (f"[sources.a]\n{_OK}\n[sources.a]\n", ["5: this is no TOML: Cannot declare"]),
        (f"[sources.a]\n{_OK}auth = 'path'\n", ["4: this is no TOML: Cannot overwrite"]),
        ("[sources.a]\nx = ", ["2: this is no TOML: Invalid value"]),
        ("x = " + "9" * 5000, ["1: this is no TOML: a value is out of bounds"]),
        ("x = " + "[" * 5000 + "]" * 5000, ["1: the file is nested too deeply"]),
        (f"trusted_proxy = []\n[sources.a]\n{_OK}", ["1: there is no key 'trusted_proxy' for the"]),
        (f'[sources."a/b"]\n{_OK}', ["1: the name of a source"]),
        (f'[sources.".."]\n{_OK}', ["1: the name of a source"]),
        (f'[sources.""]\n{_OK}', ["1: the name of a source"]),
        ("[sources]\na = 1", ["2: a source is a table"]),
        ("[sources.a]\n", ["1: auth is missing", "1: provider is missing"]),
        (
            '[sources.a]\nprovider = "whapy"\nauth = 7',
            ["2: provider is none of those known", "3: auth is none of those known"],
        ),
        (f"[sources.a]\n{_OK}header = 1", ["4: there is no key 'header' for a source with"]),
        (f"[sources.a]\n{_OK}accounts = []", ["4: accounts is a list of accounts"]),
        (f'[sources.a]\n{_OK}accounts = "A"', ["4: accounts is a list of accounts"]),
        (
            f'[sources.a]\n{_OK}accounts = [\n1,\n"",\n"A[1]",\n"-",\n"\\u0007",\n"A-*"]',
            [
                "5: an entry of accounts is not a text",
                "6: an entry of accounts is empty, or has brackets",
                "7: an entry of accounts is empty, or has brackets",
                '8: an entry of accounts is "-", which stands for no account',
                "9: an entry of accounts is empty, or has brackets",
            ],
        ),
        (
            f'[sources.a]\n{_OK}accounts = ["{"A" * 9000}"]',
            ["4: accounts is longer than 8192 bytes; write patterns"],
        ),
        *(
            (
                f'[sources.a]\nprovider = "smsmanager"\nauth = "none"\naccounts = {accounts}',
                ["4: a body of smsmanager names no account, so its source names exactly one"],
            )
            for accounts in ('["a*"]', '["a", "b"]')
        ),
        (f"[sources.a]\n{_OK}color = 1", ["4: there is no key 'color' for a source with"]),
        (f'[sources.a]\n{_OK}secrets = ["env:A"]', ["4: there is no key 'secrets' for a source"]),
        (f"[sources.a]\n{_OK}[sources.a.more]\n", ["4: there is no key 'more'"]),
        (
            '[sources.a]\nprovider = "whapi"\nauth = "header"',
            ['1: auth = "header" needs the key header', '1: auth = "header" needs the key secr'],
        ),
        (
            '[sources.a]\nprovider = "whapi"\nauth = "hmac"\nsecrets = ["env:A"]',
            ['1: auth = "hmac" needs the key header'],
        ),
        (
            '[sources.a]\nprovider = "whapi"\nauth = "basic"\nuser = "a:b"\nsecrets = ["env:A"]',
            ["4: user is empty, or has a colon"],
        ),
        (f'[sources.a]\n{_OK}addresses = "::1"', ["4: addresses is a list of networks"]),
        (f"[sources.a]\n{_OK}addresses = []", ["4: addresses lets nobody in"]),
        (
            f'[sources.a]\n{_OK}addresses = [\n"::1",\n"10.0.0.1/8",\n"::ffff:1.2.3.4",\n7,"x"]',
            [
                "6: an entry of addresses has bits set after its prefix",
                "7: an entry of addresses is IPv4 within IPv6",
                "8: an entry of addresses is no network",
                "8: an entry of addresses is no network",
            ],
        ),
        (
            f'trusted_proxies = ["0.0.0.0/0", "::/0"]\n[sources.a]\n{_OK}',
            ["1: trusted_proxies trusts everybody", "1: trusted_proxies trusts everybody"],
        ),
        (f"trusted_proxies = 1\n[sources.a]\n{_OK}", ["1: trusted_proxies is a list of networks"]),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, findings: list[str]) -> None:
    """All of it, in the order of the file, each with what to do."""
    found = read(text).findings
    told = [f"{finding.line}: {finding.text}" for finding in found]
    assert [line[: len(start)] for line, start in zip(told, findings, strict=True)] == findings
    assert all(";" in line for line in told)


def _with(secrets: str, auth: str = "bearer", more: str = "") -> str:
    return f'[sources.a]\nprovider = "whapi"\nauth = "{auth}"\nsecrets = {secrets}\n{more}'


@pytest.mark.parametrize(
    "secrets",
    [
        '"hunter2"',
        '["hunter2"]',
        '["Hunter2 hunter2"]',
        '["env:"]',
        '["env:hunter2 "]',
        '["env:hunter2-hunter2"]',
        '["ENV:hunter2"]',
        '["file:hunter2"]',
        '["file:/a\\nhunter2"]',
        '["file:/\\u0000hunter2"]',
        '["env:BLUETICK_HUNTER2"]',
        '{ hunter2 = "hunter2" }',
        '[{ env = "hunter2" }]',
        '[["hunter2"]]',
        "[1]",
        "[]",
        '["env:A", "env:B", "env:C"]',
        '["env:A", "hunter2"]',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(secrets: str) -> None:
    """Exactly one sentence, without the value."""
    [finding] = read(_with(secrets)).findings
    assert finding.line == 4
    assert "hunter2" not in finding.text


@pytest.mark.parametrize(
    ("auth", "more"),
    [
        ("header", 'header = "Authorization: Bearer hunter2"'),
        ("header", 'header = ["hunter2"]'),
        ("header", 'header = ""'),
        ("basic", 'user = "bluetick:hunter2"'),
        ("hmac", 'header = "x"\nprefix = "hunter2é"'),
        ("hmac", 'header = "x"\nprefix = " hunter2"'),
        ("hmac", 'header = "x"\nalgorithm = "hunter2"'),
        ("hmac", 'header = "x"\nencoding = "hunter2"'),
        ("hunter2", ""),
        ("bearer", 'secret = "hunter2"'),
    ],
)
def test_no_value_is_repeated(auth: str, more: str) -> None:
    """What was put in the wrong place may be the secret."""
    [finding] = read(_with('["env:A"]', auth, more)).findings
    assert "hunter2" not in finding.text


@pytest.mark.parametrize("name", sorted(KEPT_HEADERS | {"content-type"}))
@pytest.mark.parametrize("auth", ["header", "hmac"])
def test_a_stored_header_is_no_place_for_a_secret(name: str, auth: str) -> None:
    """What goes on to Kafka with every body never holds a credential."""
    [finding] = read(_with('["env:A"]', auth, f'header = "{name.title()}"')).findings
    assert finding.line == 5
    assert finding.text.startswith("header names one that is stored with the body; ")


def test_no_credential_is_stored() -> None:
    """Headers that are credentials anywhere are not among the stored ones."""
    credentials = {"authorization", "proxy-authorization", "cookie", "x-request-signature"}
    assert not KEPT_HEADERS & (credentials | {"webhook-signature", "x-forwarded-for"})


@pytest.mark.parametrize(
    ("auth", "secret", "wrong"),
    [
        *((auth, b"", "is empty") for auth in KINDS),
        *((auth, b"short", "is shorter") for auth in ("header", "bearer", "basic", "path", "hmac")),
        *(
            (auth, b"x" * 15, "is shorter")
            for auth in ("header", "bearer", "basic", "path", "hmac")
        ),
        *((auth, b"x" * 16, None) for auth in ("header", "bearer", "basic", "path", "hmac")),
        ("header", b"x" * 16 + b" ", "has other than"),
        ("header", b"x" * 16 + b"\n", "has other than"),
        ("header", b"x" * 16 + b" x", None),
        ("bearer", b"x" * 16 + b" x", "has spaces"),
        ("bearer", b"x" * 16 + "é".encode(), "has spaces"),
        ("basic", b"x" * 16 + "é: ".encode(), None),
        ("basic", b"x" * 16 + b"\n", "has control"),
        ("path", b"x" * 16 + b"/", "has other than"),
        ("path", b"x" * 16 + b"%41", "has other than"),
        ("hmac", b"\x00\n\xff " * 4, None),
        ("standard-webhooks", b"x" * 40, "is not whsec_"),
        ("standard-webhooks", b"whsec_" + b"A" * 28, "stands for fewer"),
        ("standard-webhooks", b"whsec_" + b"A" * 32, None),
    ],
)
def test_what_a_secret_must_be(auth: str, secret: bytes, wrong: str | None) -> None:
    """Long enough, and such that it can be sent in the place it is sent in."""
    found = weakness(auth, secret)
    assert found is None if wrong is None else (found or "").startswith(wrong)


def _rejection(text: str, target: bytes, headers: list[tuple[bytes, bytes]], peer: str) -> str:
    reading = read(text)
    made = {one.name: source(one, [SECRET], reading.proxies) for one in reading.declared}
    screened = None
    try:
        screened = screen(made, 100, method="POST", target=target, headers=headers, peer=peer)
        accept(screened, 100, body=b"{}", now=_NOW, id_="id-1")
    except Rejected as rejected:
        return f"{'before' if screened is None else 'after'} the body: {rejected.cause}"
    return "taken"


_LISTED = 'addresses = ["203.0.113.0/24"]'


@pytest.mark.parametrize(
    ("headers", "peer", "outcome"),
    [
        ([(b"x-token", SECRET)], "203.0.113.1", "taken"),
        ([(b"x-token", SECRET)], "203.0.114.1", "before the body: address"),
        ([(b"x-token", SECRET)], "", "before the body: address"),
        ([], "203.0.113.1", "before the body: unproven"),
        ([], "203.0.114.1", "before the body: address"),
        ([(b"content-length", b"999")], "203.0.113.1", "before the body: unproven"),
    ],
)
def test_a_sender_needs_both_proof_and_place(
    headers: list[tuple[bytes, bytes]], peer: str, outcome: str
) -> None:
    """An allow-list is asked beside the proof, and both before the body."""
    text = _with('["env:A"]', "header", f'header = "X-Token"\n{_LISTED}')
    assert _rejection(text, b"a/x", headers, peer) == outcome


@pytest.mark.parametrize(
    ("auth", "more", "headers", "outcome"),
    [
        ("hmac", 'header = "X-Sig"', [], "before the body: unproven"),
        ("hmac", 'header = "X-Sig"', [(b"x-sig", b"00")], "after the body: unproven"),
        ("standard-webhooks", "", [], "before the body: unproven"),
        ("bearer", "", [], "before the body: unproven"),
        ("path", "", [], "before the body: unproven"),
    ],
)
def test_only_a_signature_waits_for_the_body(
    auth: str, more: str, headers: list[tuple[bytes, bytes]], outcome: str
) -> None:
    """Everything else is judged without reading one byte of it."""
    assert _rejection(_with('["env:A"]', auth, more), b"a/x", headers, "") == outcome


def test_a_path_is_stored_without_its_secret() -> None:
    """The record has what follows the secret, as it has of other sources what follows the name."""
    [declared] = read(_with('["env:A"]', "path")).declared
    made = {"a": source(declared, [b"x" * 16])}
    target = b"a/" + b"x" * 16 + b"/messages?x=1"
    screened = screen(made, 100, method="POST", target=target, headers=[], peer="")
    assert accept(screened, 100, body=b"", now=_NOW, id_="id-1").path == "/messages?x=1"


def test_findings_are_in_the_order_of_the_file() -> None:
    """Whatever was found first."""
    found = read('[sources.b]\nx = 1\nauth = "none"\n[sources.a]\nprovider = 1\n').findings
    assert [finding.line for finding in found] == [1, 2, 4, 5]
    assert isinstance(found[0], Finding)

"""The sources file: the result of a correct file, and every sentence about a mistake."""

from ipaddress import ip_network

import pytest

from ingest.accept_webhook import Rejected, Screened, accept, screen
from ingest.sources.config import read, source, unrestricted
from ingest.sources.mistakes import key_path
from ingest.sources.proofs.kinds import KINDS
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
    """Every kind, with its keys, presets, places of secrets and networks."""
    reading = read(_ALL)
    assert reading.findings == ()
    declared = {one.name: one for one in reading.declared}
    assert {one.proof.auth for one in reading.declared} == set(KINDS)
    shop = declared["shop"]
    assert shop.provider == "smsmanager"
    assert shop.proof.model_dump(exclude={"secrets"}) == {
        "auth": "hmac",
        "header": "X-Request-Signature",
        "algorithm": "sha256",
        "encoding": "hex",
        "prefix": "",
    }
    assert list(map(str, shop.proof.places)) == ["env:SHOP_NEW", "file:/run/secrets/shop old"]
    assert [one.place for one in reading.places[:2]] == list(shop.proof.places)
    assert [str(network) for network in shop.networks] == [
        "203.0.113.0/24",
        "2001:db8::/32",
        "198.51.100.7/32",
    ]
    assert reading.proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert declared["signed"].proof.model_dump(exclude={"secrets"}) == {
        "auth": "hmac",
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
    """Windows' line ends change neither values nor the positions of mistakes."""
    assert read(_ALL.replace("\n", "\r\n")) == read(_ALL)


_OK = 'provider = "whapi"\nauth = "none"\n'


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("", ["sources: the file names no source"]),
        ("sources = 1", ["sources: it is not a table; write a table [sources.<name>]"]),
        ("\nsources = {}", ["sources: the file names no source"]),
        ("[[sources]]\n", ["sources: it is not a table"]),
        (
            "[sources\n",
            ["this is no TOML: Expected ']' at the end of a table declaration (at line 1"],
        ),
        (f"[sources.a]\n{_OK}\n[sources.a]\n", ["this is no TOML: Cannot declare"]),
        (f"[sources.a]\n{_OK}auth = 'path'\n", ["this is no TOML: Cannot overwrite a value (at l"]),
        ("[sources.a]\nx = ", ["this is no TOML: Invalid value (at end of document)"]),
        ("x = " + "9" * 5000, ["this is no TOML: a number is too long"]),
        ("x = " + "[" * 5000 + "]" * 5000, ["the file is nested too deeply"]),
        (
            f"trusted_proxy = []\n[sources.a]\n{_OK}",
            ["trusted_proxy: there is no such key; the file"],
        ),
        (f'[sources."a/b"]\n{_OK}', ['sources."a/b": the name of a source']),
        (f'[sources.".."]\n{_OK}', ['sources."..": the name of a source']),
        (f'[sources.""]\n{_OK}', ['sources."": the name of a source']),
        ('[sources."\\u009b\\n"]', ['sources."\\u009b\\n": the name of a source', "", ""]),
        ("[sources]\na = 1", ["sources.a: it is not a table"]),
        (
            "[sources.a]\n",
            ["sources.a.provider: it is missing", "sources.a.auth: it is missing; write auth = "],
        ),
        (
            '[sources.a]\nprovider = "whapy"\nauth = 7',
            ["sources.a.provider: it is none of those", "sources.a.auth: it is none of those"],
        ),
        (
            '[sources.a]\nprovider = "whapi"\nauth = ["none"]',
            ["sources.a.auth: it is none of thos"],
        ),
        (
            f"[sources.a]\n{_OK}header = 1",
            ['sources.a.header: there is no such key; a source with auth = "none" may have acc'],
        ),
        (f"[sources.a]\n{_OK}accounts = []", ["sources.a.accounts: it is not a list of accounts"]),
        (f'[sources.a]\n{_OK}accounts = "A"', ["sources.a.accounts: it is not a list of accounts"]),
        (
            f'[sources.a]\n{_OK}accounts = [\n1,\n"",\n"A[1]",\n"-",\n"\\u0007",\n"A-*"]',
            [
                "sources.a.accounts[0]: it is not a text; write accounts = ",
                "sources.a.accounts[1]: the entry is empty, or has brackets",
                "sources.a.accounts[2]: the entry is empty, or has brackets",
                'sources.a.accounts[3]: the entry is "-", which means no account',
                "sources.a.accounts[4]: the entry is empty, or has brackets",
            ],
        ),
        (
            f'[sources.a]\n{_OK}accounts = ["{"A" * 9000}"]',
            ["sources.a.accounts: it is longer than 8192 bytes; write patterns"],
        ),
        *(
            (
                f'[sources.a]\nprovider = "smsmanager"\nauth = "none"\naccounts = {accounts}',
                ["sources.a.accounts: a body of smsmanager names no account, so its source name"],
            )
            for accounts in ('["a*"]', '["a", "b"]')
        ),
        (f"[sources.a]\n{_OK}color = 1", ["sources.a.color: there is no such key"]),
        (f'[sources.a]\n{_OK}secrets = ["env:A"]', ["sources.a.secrets: there is no such key"]),
        (f"[sources.a]\n{_OK}[sources.a.more]\n", ["sources.a.more: there is no such key"]),
        (
            '[sources.a]\nprovider = "whapi"\nauth = "header"',
            [
                'sources.a.secrets: auth = "header" needs this key; write secrets = ["env:',
                'sources.a.header: auth = "header" needs this key; write header = ',
            ],
        ),
        (
            '[sources.a]\nprovider = "whapi"\nauth = "hmac"\nsecrets = ["env:A"]',
            ['sources.a.header: auth = "hmac" needs this key'],
        ),
        (
            '[sources.a]\nprovider = "whapi"\nauth = "basic"\nuser = "a:b"\nsecrets = ["env:A"]',
            ["sources.a.user: it is empty, or has a colon"],
        ),
        (
            '[sources.a]\nprovider = "x"\nauth = "basic"\nuser = 1\nsecrets = ["A"]\naddresses = 1',
            [
                "sources.a.provider: it is none of those known",
                "sources.a.addresses: it is not a list of networks",
                "sources.a.secrets[0]: the entry does not say where",
                "sources.a.user: it is not a text",
            ],
        ),
        (f'[sources.a]\n{_OK}addresses = "::1"', ["sources.a.addresses: it is not a list of netw"]),
        (f"[sources.a]\n{_OK}addresses = []", ["sources.a.addresses: it admits no address"]),
        (
            f'[sources.a]\n{_OK}addresses = [\n"::1",\n"10.0.0.1/8",\n"::ffff:1.2.3.4",\n7,"x"]',
            [
                "sources.a.addresses[1]: the entry has bits set after its prefix",
                "sources.a.addresses[2]: the entry is IPv4 within IPv6",
                "sources.a.addresses[3]: the entry is not a network",
                "sources.a.addresses[4]: the entry is not a network",
            ],
        ),
        (
            f'trusted_proxies = ["0.0.0.0/0", "::/0"]\n[sources.a]\n{_OK}',
            [
                "trusted_proxies[0]: the entry trusts every address",
                "trusted_proxies[1]: the entry trusts every address",
            ],
        ),
        (f"trusted_proxies = 1\n[sources.a]\n{_OK}", ["trusted_proxies: it is not a list of netw"]),
    ],
)
def test_a_mistake_is_reported_with_its_key(text: str, findings: list[str]) -> None:
    """All mistakes at once, each with its key path and what to do."""
    found = [str(finding) for finding in read(text).findings]
    assert [line[: len(start)] for line, start in zip(found, findings, strict=True)] == findings
    assert all(";" in line and line.isprintable() for line in found)


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
    assert str(finding).startswith("sources.a.secrets")
    assert "hunter2" not in str(finding)


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
    """A value in the wrong place may be the secret."""
    [finding] = read(_with('["env:A"]', auth, more)).findings
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize("name", sorted(KEPT_HEADERS | {"content-type"}))
@pytest.mark.parametrize("auth", ["header", "hmac"])
def test_a_stored_header_is_no_place_for_a_secret(name: str, auth: str) -> None:
    """A header that is stored on Kafka with every body never contains a credential."""
    [finding] = read(_with('["env:A"]', auth, f'header = "{name.title()}"')).findings
    assert str(finding).startswith(
        "sources.a.header: it names a header that is stored with the body; write header = "
    )


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
        ("standard-webhooks", b"whsec_" + b"A" * 28, "encodes fewer"),
        ("standard-webhooks", b"whsec_" + b"A" * 32, None),
    ],
)
def test_requirements_of_secrets(auth: str, secret: bytes, wrong: str | None) -> None:
    """A secret must be long enough, and valid where the sender puts it."""
    found = KINDS[auth].weakness(secret)
    assert found is None if wrong is None else (found or "").startswith(wrong)


# A secret that is fit for every kind.
_FIT = b"whsec_" + b"A" * 32


def _rejection(text: str, target: bytes, headers: list[tuple[bytes, bytes]], peer: str) -> str:
    reading = read(text)
    made = {one.name: source(one, [_FIT], reading.proxies) for one in reading.declared}
    screened = None
    try:
        screened = screen(
            made, 100, method="POST", target=target, headers=headers, peer=peer, now=[_NOW]
        )
        assert isinstance(screened, Screened)
        accept(screened, 100, body=b"{}", now=[_NOW], id_="id-1")
    except Rejected as rejected:
        return f"{'before' if screened is None else 'after'} the body: {rejected.cause}"
    return "taken"


_LISTED = 'addresses = ["203.0.113.0/24"]'


@pytest.mark.parametrize(
    ("headers", "peer", "outcome"),
    [
        ([(b"x-token", _FIT)], "203.0.113.1", "taken"),
        ([(b"x-token", _FIT)], "203.0.114.1", "before the body: address"),
        ([(b"x-token", _FIT)], "", "before the body: address"),
        ([], "203.0.113.1", "before the body: unproven"),
        ([], "203.0.114.1", "before the body: address"),
        ([(b"content-length", b"999")], "203.0.113.1", "before the body: unproven"),
    ],
)
def test_a_sender_needs_both_proof_and_address(
    headers: list[tuple[bytes, bytes]], peer: str, outcome: str
) -> None:
    """The allowlist is checked in addition to the proof, and both before the body."""
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
    """Every other proof is checked without reading the body."""
    assert _rejection(_with('["env:A"]', auth, more), b"a/x", headers, "") == outcome


def test_a_path_is_stored_without_its_secret() -> None:
    """The record has the path after the secret; for other sources, the path after the name."""
    [declared] = read(_with('["env:A"]', "path")).declared
    made = {"a": source(declared, [b"x" * 16])}
    target = b"a/" + b"x" * 16 + b"/messages?x=1"
    screened = screen(made, 100, method="POST", target=target, headers=[], peer="", now=[_NOW])
    assert isinstance(screened, Screened)
    assert screened.path == "/messages?x=1"


def test_findings_are_in_the_order_of_the_sources() -> None:
    """The file's own mistakes come first, then those of each source."""
    text = 'x = 1\n[sources.b]\nx = 1\nauth = "none"\n[sources.a]\nprovider = 1\n'
    assert [key_path(finding.keys) for finding in read(text).findings] == [
        "x",
        "sources.b.provider",
        "sources.b.x",
        "sources.a.provider",
        "sources.a.auth",
    ]


def test_places_are_known_in_a_source_with_mistakes() -> None:
    """Their secrets are checked with the file, so that all mistakes are reported at once."""
    reading = read(_with('["hunter2", "file:/b"]', more="addresses = 1"))
    assert [(key_path(one.keys), str(one.place)) for one in reading.places] == [
        ("sources.a.secrets[1]", "file:/b")
    ]


@pytest.mark.parametrize(
    ("auth", "secrets"),
    [("none", '["env:A"]'), ("bearer", '["env:BLUETICK_A"]'), ("x", '["env:A"]'), ("path", "1")],
)
def test_a_wrong_place_is_reported_once(auth: str, secrets: str) -> None:
    """If a kind has no secret, or the place is wrong, no secret is read."""
    reading = read(_with(secrets, auth))
    assert (len(reading.findings), reading.places) == (1, ())

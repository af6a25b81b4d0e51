"""One broker with a listener for each way to log in, certificates, users and ACLs."""

import asyncio
import base64
import datetime as dt
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka import admin as admins
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from deploy.local_kafka.broker import HOST, LocalKafka, free_port
from schemas.rights import Right
from service.settings import Settings

_kafka: Any = admins  # its stubs lack most names

PASSWORD = "right-password"
_SCRAM = {
    "SCRAM-SHA-256": _kafka.ScramMechanism.SCRAM_SHA_256,
    "SCRAM-SHA-512": _kafka.ScramMechanism.SCRAM_SHA_512,
}
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
_OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"

# Listener: the protocol, and the SASL mechanisms with their login module.
_LOGIN_SECONDS = 30
_LISTENERS: dict[str, tuple[str, dict[str, str]]] = {
    "TLS": ("SSL", {}),
    "EXPIRED": ("SSL", {}),
    "NAMED": ("SSL", {}),
    "MUTUAL": ("SSL", {}),
    "LOGIN": (
        "SASL_SSL",
        {
            "PLAIN": f'{_PLAIN} required user_plain="{PASSWORD}"',
            "SCRAM-SHA-256": f"{_SCRAM_MODULE} required",
            "SCRAM-SHA-512": f"{_SCRAM_MODULE} required",
        },
    ),
    "CLEAR": ("SASL_PLAINTEXT", {"SCRAM-SHA-512": f"{_SCRAM_MODULE} required"}),
    "TOKEN": (
        "SASL_SSL",
        {"OAUTHBEARER": f'{_OAUTH} required unsecuredLoginStringClaim_sub="broker"'},
    ),
}


class Certificates:
    """A CA that clients and the broker trust, another one, and certificates of both."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca, self._other = trustme.CA(), trustme.CA()
        self.ca, self.other_ca = directory / "ca.pem", directory / "other-ca.pem"
        self._ca.cert_pem.write_to_path(self.ca)
        self._other.cert_pem.write_to_path(self.other_ca)
        self.broker = self._store("broker", self._ca.issue_cert("localhost", HOST))
        past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        self.expired = self._store("expired", self._ca.issue_cert(HOST, not_after=past))
        self.named = self._store("named", self._ca.issue_cert("broker.example"))
        self.client = self._store("client", self._ca.issue_cert("c@x", common_name="client"))
        self.stranger = self._store("stranger", self._other.issue_cert("c@x", common_name="x"))

    def _store(self, name: str, issued: trustme.LeafCert) -> Path:
        """Write a key and its certificate, as one PEM file for Kafka and as two for clients."""
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        # Java reads PKCS 8 alone.
        key = load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        (self.directory / f"{name}.pem").write_bytes(key + chain)
        (self.directory / f"{name}-key.pem").write_bytes(key)
        (self.directory / f"{name}-cert.pem").write_bytes(chain)
        return self.directory / f"{name}.pem"

    def cert(self, name: str) -> dict[str, Path]:
        """Return the settings of a client's certificate."""
        return {
            "certificate_file": self.directory / f"{name}-cert.pem",
            "key_file": self.directory / f"{name}-key.pem",
        }

    def encrypted(self, name: str, password: str) -> dict[str, Path]:
        """Return the settings of a client's certificate whose key has a password."""
        key = load_pem_private_key((self.directory / f"{name}-key.pem").read_bytes(), None)
        file = self.directory / f"{name}-encrypted-key.pem"
        locked = BestAvailableEncryption(password.encode())
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        return {**self.cert(name), "key_file": file}


class SecureKafka(LocalKafka):
    """The listener without protection is of the superuser ANONYMOUS; all others need ACLs."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self._certificates_directory = data / "certificates"
        self._certificates_directory.mkdir(parents=True)
        self.certificates = Certificates(self._certificates_directory)
        self.ports = {name: free_port(0) for name in _LISTENERS}
        self._admin: Any = None

    def address(self, listener: str) -> str:
        return f"{HOST}:{self.ports[listener]}" if listener in self.ports else self.bootstrap

    def _settings(self) -> dict[str, str]:
        settings = super()._settings()
        extra = "".join(f",{name}://{HOST}:{port}" for name, port in self.ports.items())
        protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
        protocols += "".join(f",{name}:{one[0]}" for name, one in _LISTENERS.items())
        settings["listeners"] += extra
        settings["advertised.listeners"] += extra
        settings |= {
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": protocols,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        }
        for name, (protocol, mechanisms) in _LISTENERS.items():
            prefix = f"listener.name.{name.lower()}."
            if protocol.endswith("SSL"):
                settings |= self._tls(name, prefix)
            if mechanisms:
                settings[f"{prefix}sasl.enabled.mechanisms"] = ",".join(mechanisms)
            for mechanism, module in mechanisms.items():
                settings[f"{prefix}{mechanism.lower()}.sasl.jaas.config"] = f"{module};"
        return settings

    def _tls(self, name: str, prefix: str) -> dict[str, str]:
        one = self.certificates
        store = {"EXPIRED": one.expired, "NAMED": one.named}.get(name, one.broker)
        return {
            f"{prefix}ssl.keystore.type": "PEM",
            f"{prefix}ssl.keystore.location": str(store),
            f"{prefix}ssl.truststore.type": "PEM",
            f"{prefix}ssl.truststore.location": str(one.ca),
            f"{prefix}ssl.client.auth": "required" if name == "MUTUAL" else "none",
            f"{prefix}ssl.principal.mapping.rules": "RULE:^CN=([^,]+),.*$/$1/,DEFAULT",
        }

    def settings(self, listener: str, **given: Any) -> Settings:
        """Return settings for a listener, with the right CA."""
        security = _LISTENERS[listener][0] if listener in _LISTENERS else "PLAINTEXT"
        tls = {"ca_file": self.certificates.ca} if security.endswith("SSL") else {}
        return Settings(**{"kafka": self.address(listener), "security": security, **tls, **given})

    async def add_users(self, names: Iterable[str], mechanism: str = "SCRAM-SHA-512") -> None:
        """Add users with the password `PASSWORD`, and wait until the broker knows the last one."""
        info = _kafka.ScramCredentialInfo(_SCRAM[mechanism], 4096)
        wanted = [
            _kafka.UserScramCredentialUpsertion(name, info, PASSWORD.encode()) for name in names
        ]
        await _all(self._administrator().alter_user_scram_credentials(wanted))
        await asyncio.to_thread(self._log_in, str(wanted[-1].user), mechanism)

    def _log_in(self, user: str, mechanism: str) -> None:
        """Log in as soon as the broker accepts the user."""
        client = _kafka.AdminClient(
            {
                "bootstrap.servers": self.address("LOGIN"),
                "security.protocol": "SASL_SSL",
                "ssl.ca.location": str(self.certificates.ca),
                "sasl.mechanism": mechanism,
                "sasl.username": user,
                "sasl.password": PASSWORD,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,
            }
        )
        client.list_topics(timeout=_LOGIN_SECONDS)  # it tries again after each refusal

    async def grant(self, user: str, rights: Iterable[Right]) -> None:
        """Add ACLs for a principal, such as "User:x"."""
        if acls := [_acl(user, right) for right in rights]:
            await _all(self._administrator().create_acls(acls))

    def _administrator(self) -> Any:
        if self._admin is None:
            self._admin = _kafka.AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return self._admin


def token(subject: str, seconds: float = 3600) -> str:
    """Return an unsecured JWT, which the broker accepts while it is valid."""
    now = time.time()
    claims = {"sub": subject, "iat": now - 60, "exp": now + seconds}
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


def _acl(user: str, right: Right) -> Any:
    kinds = {
        "topic": _kafka.ResourceType.TOPIC,
        "group": _kafka.ResourceType.GROUP,
        "transactional-id": _kafka.ResourceType.TRANSACTIONAL_ID,
        "cluster": _kafka.ResourceType.BROKER,
    }
    operation = "".join(f"_{c}" if c.isupper() else c.upper() for c in right.operation).lstrip("_")
    pattern = (
        _kafka.ResourcePatternType.PREFIXED
        if right.prefixed
        else _kafka.ResourcePatternType.LITERAL
    )
    return _kafka.AclBinding(
        kinds[right.resource],
        right.name,
        pattern,
        user,
        "*",
        _kafka.AclOperation[operation],
        _kafka.AclPermissionType.ALLOW,
    )


async def _all(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        await asyncio.to_thread(future.result, 15)

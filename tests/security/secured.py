"""A broker as in production: SASL, TLS, client certificates, and an authorizer.

Its plain listener is for the operator: it allows everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trustme
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization

from connectors.kafka.cluster import Cluster
from streams.local.broker import Broker
from tests.support.ports import free_port

_SASL = "org.apache.kafka.common.security"
PLAIN_USER, PLAIN_PASSWORD = "plain-user", "plain-secret"
USER, PASSWORD = "scram-user", "correct horse"


@dataclass(frozen=True)
class Certificates:
    """Files of one authority: its certificate, and the certificate and the key of a client."""

    ca: Path
    client: Path
    client_key: Path


class Secured:
    """The broker with its listeners: PLAINTEXT, SASL, SASL with TLS, TLS with certificates."""

    def __init__(self, folder: Path) -> None:
        self.ports = {name: free_port() for name in ("PLAINTEXT", "SASL", "SASLSSL", "SSL")}
        controller = free_port()
        self.certificates = _certificates(folder)
        listeners = ",".join(f"{n}://127.0.0.1:{p}" for n, p in self.ports.items())
        extra = {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "SASL:SASL_PLAINTEXT,SASLSSL:SASL_SSL,SSL:SSL",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            **_sasl("sasl"),
            **_sasl("saslssl"),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.ca),
            "listener.name.ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The name in a certificate is the user's name.
            "ssl.principal.mapping.rules": "RULE:^.*CN=([a-z]+).*$/$1/",
            "super.users": "User:ANONYMOUS;User:linkstatus",
        }
        self.broker = Broker(
            folder,
            self.ports["PLAINTEXT"],
            extra,
            loggers={"kafka.authorizer.logger": "DEBUG"},
        )

    def start(self) -> "Secured":
        self.broker.start()
        self.add_user(USER, PASSWORD)
        return self

    def stop(self) -> None:
        self.broker.stop()

    @property
    def operator(self) -> Cluster:
        """The listener without authentication."""
        return self._at("PLAINTEXT")()

    def plain(self, password: str = PLAIN_PASSWORD, prefix: str = "") -> Cluster:
        return self._at("SASL")(
            prefix=prefix,
            protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username=PLAIN_USER,
            sasl_password=password,
        )

    def scram(
        self, user: str = USER, password: str = PASSWORD, prefix: str = "", bits: int = 512
    ) -> Cluster:
        return self._at("SASL")(
            prefix=prefix,
            protocol="SASL_PLAINTEXT",
            sasl_mechanism=f"SCRAM-SHA-{bits}",
            sasl_username=user,
            sasl_password=password,
        )

    def scram_over_tls(self, user: str = USER, password: str = PASSWORD) -> Cluster:
        return replace(
            self.scram(user, password),
            brokers=f"127.0.0.1:{self.ports['SASLSSL']}",
            protocol="SASL_SSL",
            ssl_ca=str(self.certificates.ca),
        )

    def tls(self, prefix: str = "") -> Cluster:
        """With our client certificate."""
        files = self.certificates
        return self._at("SSL")(
            prefix=prefix,
            protocol="SSL",
            ssl_ca=str(files.ca),
            ssl_certificate=str(files.client),
            ssl_key=str(files.client_key),
        )

    def add_user(self, name: str, password: str) -> None:
        """Add a SCRAM user, with both hashes."""
        client = AdminClient(self.operator.librdkafka())
        # Kafka accepts one change of a user at a time.
        for kind in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            credential = ScramCredentialInfo(kind, 4096)
            change = UserScramCredentialUpsertion(name, credential, password.encode())
            for future in client.alter_user_scram_credentials([change]).values():
                future.result(20)

    def _at(self, listener: str) -> "partial[Cluster]":
        return partial(Cluster, f"127.0.0.1:{self.ports[listener]}")


def environment(cluster: Cluster) -> Mapping[str, str]:
    """The settings for this cluster."""
    settings = {
        "BROKERS": cluster.brokers,
        "TOPIC_PREFIX": cluster.prefix,
        "SECURITY__PROTOCOL": cluster.protocol,
        "SECURITY__SASL_MECHANISM": cluster.sasl_mechanism,
        "SECURITY__SASL_USERNAME": cluster.sasl_username,
        "SECURITY__SASL_PASSWORD": cluster.sasl_password,
        "SECURITY__SSL_CA": cluster.ssl_ca,
        "SECURITY__SSL_CERTIFICATE": cluster.ssl_certificate,
        "SECURITY__SSL_KEY": cluster.ssl_key,
    }
    return {f"LINKSTATUS_{name}": value for name, value in settings.items() if value}


def _sasl(listener: str) -> dict[str, str]:
    scram = f"{_SASL}.scram.ScramLoginModule required;"
    plain = f'{_SASL}.plain.PlainLoginModule required user_{PLAIN_USER}="{PLAIN_PASSWORD}";'
    modules = {"scram-sha-256": scram, "scram-sha-512": scram, "plain": plain}
    return {f"listener.name.{listener}.{n}.sasl.jaas.config": m for n, m in modules.items()}


def _certificates(folder: Path) -> Certificates:
    authority = trustme.CA()
    broker = authority.issue_cert("127.0.0.1", common_name="broker")
    client = authority.issue_cert("client.example", common_name="linkstatus")
    files = Certificates(folder / "ca.pem", folder / "client.pem", folder / "client.key")
    authority.cert_pem.write_to_path(files.ca)
    client.cert_chain_pems[0].write_to_path(files.client)
    files.client_key.write_bytes(_pkcs8(client))
    chain = b"".join(pem.bytes() for pem in broker.cert_chain_pems)
    (folder / "broker.pem").write_bytes(_pkcs8(broker) + chain)
    return files


def _pkcs8(certificate: trustme.LeafCert) -> bytes:
    """The key in Kafka's format."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

"""The settings of security are checked as a whole before a client sees them."""

import pytest

from streams.settings import BadSettings, load

SASL = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password": "s3cr3t"}


@pytest.mark.parametrize(
    ("security", "message"),
    [
        (
            {"protocol": "SASL_SSL"},
            "SASL_MECHANISM, LINKSTATUS_SECURITY__SASL_USERNAME, .* not set",
        ),
        ({"protocol": "SASL_PLAINTEXT", **SASL, "sasl_password": None}, "SASL_PASSWORD not set"),
        ({**SASL}, "SASL_PASSWORD is set, but LINKSTATUS_SECURITY__PROTOCOL is PLAINTEXT"),
        ({"protocol": "SSL", **SASL}, "is set, but LINKSTATUS_SECURITY__PROTOCOL is SSL"),
        ({"ssl_ca": __file__}, "SSL_CA is set, but LINKSTATUS_SECURITY__PROTOCOL is PLAINTEXT"),
        ({"protocol": "SSL", "ssl_ca": "/no/such"}, "SECURITY__SSL_CA: .*not point to a file"),
        ({"protocol": "SSL", "ssl_certificate": __file__}, "SSL_KEY not set: a certificate and"),
        ({"protocol": "SASL"}, "LINKSTATUS_SECURITY__PROTOCOL: Input should be"),
        ({"sasl_pasword": "s3cr3t"}, "LINKSTATUS_SECURITY__SASL_PASWORD: Extra inputs"),
    ],
)
def test_what_cannot_work_is_named(security: dict[str, str | None], message: str) -> None:
    with pytest.raises(BadSettings, match=message) as caught:
        load(brokers="k:9092", security=security)
    assert "s3cr3t" not in str(caught.value)


def test_every_setting_reaches_both_kinds_of_client() -> None:
    settings = load(
        brokers="k:9092",
        security={"protocol": "SASL_SSL", "ssl_ca": __file__, **SASL},
    )
    librdkafka = settings.cluster().librdkafka()
    assert librdkafka == {
        "bootstrap.servers": "k:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "s3cr3t",
        "ssl.ca.location": __file__,
    }
    assert "s3cr3t" not in repr(settings) + repr(settings.cluster())
    assert settings.security.environment()["LINKSTATUS_SECURITY__SASL_PASSWORD"] == "s3cr3t"

"""Which secrets and URLs an endpoint may have."""

from base64 import b64encode

import pytest

from connectors.notify.endpoint import Endpoint, check_secret, check_url
from schemas.limits import WEBHOOK_SECRET_BYTES, WEBHOOK_SECRET_LEAST_BYTES


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        (WEBHOOK_SECRET_LEAST_BYTES - 1, False),
        (WEBHOOK_SECRET_LEAST_BYTES, True),
        (WEBHOOK_SECRET_BYTES, True),
        (WEBHOOK_SECRET_BYTES + 1, False),
    ],
)
def test_secret_has_the_bytes_of_the_specification(size: int, fits: bool) -> None:
    secret = "whsec_" + b64encode(bytes(size)).decode()
    if fits:
        return check_secret(secret)
    with pytest.raises(ValueError, match="24 to 64 random bytes") as raised:
        check_secret(secret)
    assert secret not in str(raised.value)
    return None


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_ä", "whsec_AAAA-", "A" * 44])
def test_text_of_another_form_is_no_secret(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        check_secret(secret)


@pytest.mark.parametrize(
    ("url", "allow_http"),
    [
        ("https://billing.example/hooks?a=b", False),
        ("http://127.0.0.1:8000/", False),
        ("http://[::1]/hooks", False),
        ("http://localhost/hooks", False),
        ("http://billing/hooks", True),
    ],
)
def test_events_are_sent_to_https_and_to_this_machine(url: str, allow_http: bool) -> None:
    check_url(url, allow_http)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://billing.example/", "http shows the events"),
        ("http://127.0.0.1.example/", "http shows the events"),
        ("https://", "https://host/path"),
        ("ftp://billing.example/", "https://host/path"),
        ("billing.example", "https://host/path"),
        ("https://billing.example:x/", "https://host/path"),
        ("https://[::1/", "https://host/path"),
        ("https://billing.example/\n", "https://host/path"),
        ("https://me:s3cr3t@billing.example/", "leave out user, password"),
        ("https://billing.example/#part", "leave out user, password"),
    ],
)
def test_other_url_is_refused_with_what_to_do(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        check_url(url, allow_http=False)
    assert "s3cr3t" not in str(raised.value)


def test_settlement_waits_for_the_close_only_where_both_are_sent() -> None:
    url, secrets = "https://x.example/", ("whsec_",)
    assert Endpoint("a", url, secrets, ("settlement", "refunds")).after == {}
    after = {"settlement": "order-close", "order-corrections": "order-close"}
    assert Endpoint("a", url, secrets).after == after

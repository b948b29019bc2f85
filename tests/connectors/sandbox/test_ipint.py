"""The simulated iPint: its signed queries, and the time of its confirmations."""

from connectors.providers.base import ApiResponse
from tests.connectors.sandbox.sandboxes import NOW, SECOND, Simulated
from tests.connectors.sandbox.test_documented import ipint_headers


def test_query_needs_a_signature_with_a_growing_nonce() -> None:
    ipint = Simulated("ipint")
    ipint.create()
    key, secret = ipint.site.secrets["api_key"], ipint.site.secrets["api_secret"]

    def get(number: int, **changed: str) -> ApiResponse:
        path = "/invoice?id=link-1"
        headers = ipint_headers(key, secret, str(number), path) | changed
        return ipint.call("GET", path, headers=headers)

    assert get(5).status == 200
    assert get(5).status == 401
    assert get(4).status == 401
    assert get(6, signature="00").status == 401
    assert get(6, apikey="guessed").status == 401
    assert get(6, nonce="7").status == 401
    assert get(6).status == 200


def test_speed_shortens_the_confirmations() -> None:
    fast = Simulated("ipint", speed=60.0)
    fast.create("PROCESSING")
    assert fast.store.next_due(NOW) == NOW + 30 * SECOND

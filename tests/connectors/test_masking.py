"""Secrets and card numbers are masked, however they are written."""

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.masking import MASK, masked_attributes, masked_body, masked_headers, masked_record

PAN = "4111111111111111"
SPACED = "4111 1111 1111 1111"
INNER = json.dumps({"card": {"number": PAN, "cvv": "123"}, "registrationId": "8a82944a"})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"card":{"number":"4111111111111111"}}', '{"card":{"number":"411111•••1111"}}'),
        ("pan=5500005555555559&x=1", "pan=550000•••5559&x=1"),
        ('{"amount":4111111111111112}', '{"amount":4111111111111112}'),
        ('{"at":1700000000000000}', '{"at":1700000000000000}'),
        ('{"card":{"cvc":"123"}}', '{"card":{"cvc":"•••"}}'),
        ('{"a" : 1.50,"token" : null, "a":2}', '{"a" : 1.50,"token" : "•••", "a":2}'),
        ('{"token":{"value":["x",1]},"b":"x"}', '{"token":{"value":["•••","•••"]},"b":"x"}'),
        (
            '{"merchant.card.number":"1","Card_Number":2}',
            '{"merchant.card.number":"•••","Card_Number":"•••"}',
        ),
        ('{"token":"cut', '{"token":"•••"'),
        ("a=1&registrationId=8a8&b=2", "a=1&registrationId=•••&b=2"),
        ("see https://x.example/?token=8a8 and go", "see https://x.example/?token=••• and go"),
        ('["https://x.example/?a=1&token=8a8"]', '["https://x.example/?a=1&token=•••"]'),
        ("card 3782 822463 10005.", "card 378282•••0005."),
        ("5500-0055-5555-5559 12", "550000•••5559 12"),
    ],
)
def test_card_number_and_secret_are_masked_where_they_stand(body: str, expected: str) -> None:
    assert masked_body(body.encode()).decode() == expected


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"text": SPACED}),
        json.dumps({"text": "4111-1111-1111-1111"}),
        '{"pan":"' + "".join(f"\\u00{ord(digit):02x}" for digit in PAN) + '"}',
        '{"\\u0074oken":"8a82944a"}',
        json.dumps({"event": INNER}),
        json.dumps({"event": json.dumps({"event": INNER})}),
        json.dumps({"event": f"data={quote_plus(INNER)}"}),
        "\ufeff" + INNER,
        quote(INNER),
        quote(f"registrationId=8a82944a&pan={PAN}"),
        f"data={quote_plus(INNER)}&x=1",
        f"data={quote_plus(quote_plus(INNER))}",
        f"registration%49d=8a82944a&pan={PAN}",
        f"pan={quote_plus(SPACED)}",
        f"pan={quote(SPACED)}",
        f"pan={'%34' + PAN[1:]}",
        INNER[:-1],
        '{"text":"\\ud800 ' + SPACED + '"}',
        '{"text":"a=\\ud800' + PAN + '"}',
        "x" + INNER,
    ],
)
def test_f8_masking_parses_first(body: str) -> None:
    shown = masked_body(body.encode()).decode()
    again = json.dumps(shown).replace("%20", " ").replace("+", " ")
    assert MASK in shown.replace(r"\u2022", "•")
    for secret in (PAN, SPACED, "8a82944a", PAN[4:], "%34"):
        assert secret not in again


@given(st.binary(max_size=300) | st.text('{}[]":,\\%+&=; 4a', max_size=300).map(str.encode))
def test_f8_masking_reads_any_bytes(body: bytes) -> None:
    masked_body(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 10**9) | st.text('ab ü\\"', max_size=9),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("abü", max_size=4), inner),
        max_leaves=20,
    ),
    st.sampled_from([None, 2]),
)
def test_f8_masking_keeps_what_is_no_secret_as_received(value: object, indent: int | None) -> None:
    body = json.dumps(value, indent=indent).encode()
    assert masked_body(body) == body


def test_f8_json_in_json_without_end_is_masked() -> None:
    body = PAN
    for _ in range(9):
        body = json.dumps({"event": body})
    assert PAN not in masked_body(body.encode()).decode()


def test_f8_attributes_and_headers_are_masked_by_name_and_by_value() -> None:
    values = {"token": "x", "note": f"card {SPACED}"}
    masked = {"token": MASK, "note": "card 411111•••1111"}
    assert masked_attributes(values) == masked
    assert masked_headers(values.items()) == masked
    record = {"link_id": PAN, "events": [{"attributes": values}], "attributes": None}
    assert masked_record(record) == {
        "link_id": PAN,
        "events": [{"attributes": masked}],
        "attributes": None,
    }

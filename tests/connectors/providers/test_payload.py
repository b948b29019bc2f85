"""JSON is read with exact numbers, whichever parser reads it."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from connectors.providers.payload import json_value

FRACTIONS = st.decimals(allow_nan=False, allow_infinity=False).map(str)
INTEGERS = st.integers(-(10**25), 10**25).map(str)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(json.dumps)
SPACES = st.sampled_from(["", " ", "\n\t"])


def lists(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda items, space: f"[{f',{space}'.join(items)}]", st.lists(inner), SPACES)


def objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.builds(lambda k, space, v: f"{k}:{space}{v}", TEXTS, SPACES, inner)
    return st.lists(members, max_size=4).map(lambda each: f"{{{','.join(each)}}}")


DOCUMENTS = st.recursive(
    st.one_of(FRACTIONS, INTEGERS, TEXTS, st.sampled_from(["null", "true"])),
    lambda inner: st.one_of(lists(inner), objects(inner)),
)


def typed(value: Any) -> Any:
    """Return the value with the types of its numbers: 1 == Decimal(1)."""
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    return [typed(each) for each in value] if isinstance(value, list) else (type(value), value)


@given(DOCUMENTS)
@example("-9223372036854775809")
@example("18446744073709551616")
@example('{"amount":-1E+2}')
def test_every_number_is_exact(text: str) -> None:
    expected = json.loads(text, parse_float=Decimal)
    assert typed(json_value(text.encode())) == typed(expected)

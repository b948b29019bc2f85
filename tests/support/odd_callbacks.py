"""Callbacks that no provider should send: any bytes, any JSON, and golden ones with a change."""

import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from connectors.providers.registry import PROVIDERS
from tests.connectors.providers import golden


@cache
def bodies(provider: str) -> st.SearchStrategy[bytes]:
    """Return any bytes, any JSON, and golden bodies that are cut or have one value replaced."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
    known = [case.content["request"]["body"] for case in golden.cases(provider)]
    return st.one_of(
        st.binary(max_size=200),
        anything.map(as_json),
        st.tuples(st.sampled_from(known), st.integers(0), anything).map(lambda t: mutated(*t)),
        st.tuples(st.sampled_from(known), st.integers(0, 400)).map(lambda t: t[0].encode()[: t[1]]),
    )


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def mutated(body: str, place: int, value: Any) -> bytes:
    """Return the JSON with one value, selected by `place`, replaced."""
    try:
        content = json.loads(body)
    except ValueError:
        return body.encode() + as_json(value)
    node = content
    while isinstance(node, dict) and node:
        name = sorted(node)[place % len(node)]
        if not isinstance(node[name], dict) or place % 5 == 0:
            node[name] = value
            break
        place, node = place // len(node), node[name]
    return as_json(content)


@cache
def header_maps(provider: str) -> st.SearchStrategy[dict[str, str]]:
    """Return headers that the provider's callbacks have, with golden and other values."""
    kind = PROVIDERS[provider]
    kept = kind(kind.Config()).kept_headers
    names = sorted(kept | {"content-type", "lookup-status"})
    known = [case.inbound().headers for case in golden.cases(provider)]
    values = st.text(max_size=60) | st.sampled_from(
        [value for headers in known for value in headers.values()]
    )
    return st.dictionaries(st.sampled_from(names), values, max_size=6)

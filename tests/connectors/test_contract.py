"""What every provider must keep to, whoever it is: no provider is named here."""

import contextlib
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.provider import (
    ApiResponse,
    BadSignature,
    Inbound,
    KeysNeeded,
    LookupRefused,
    Provider,
    Raw,
    Unreadable,
)
from connectors.registry import ORDER_APIS, PROVIDERS
from schemas.records import LookupRequest
from tests.connectors import golden
from tests.connectors.golden import RECEIVED_AT, Case

SIGNED = [case for case in golden.ALL if case.is_signed and case.content["record"]["verified"]]
BY_NAME = {str(case): case for case in golden.ALL}
PAIRS = [
    (case, BY_NAME[lookup])
    for case in golden.ALL
    if (lookup := f"{case.provider}/lookup-{case.file.stem}") in BY_NAME
    and not any("unknown_word" in fact for fact in case.content["expected"])
]


def statuses(case: Case) -> set[tuple[str, str]]:
    """(our word, the provider's word) of each event, joined or not."""
    facts = case.content["expected"]
    events = [fact["event"] for fact in facts if "event" in fact]
    events += [fact["payment"]["event"] for fact in facts if "event" in fact.get("payment", {})]
    return {(event["status"], event["provider_status"]) for event in events}


def instance(provider: str) -> Provider:
    return PROVIDERS[provider](PROVIDERS[provider].Config())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_status_word_appears_in_a_golden_case(provider: str) -> None:
    found = [statuses(case) for case in golden.cases(provider)]
    words = {word for case in found for _, word in case}
    assert golden.cases(provider), "a provider without golden cases is not finished"
    assert set(PROVIDERS[provider].STATUS) - words == set()


def test_who_settles_by_order_has_calls_to_do_it_with() -> None:
    by_order = {name for name, kind in PROVIDERS.items() if kind.settlement == "by_order"}
    assert by_order == ORDER_APIS.keys()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_unknown_words_are_golden_cases_and_become_no_event(provider: str) -> None:
    unknown = [fact for case in golden.cases(provider) for fact in case.content["expected"]]
    assert any("unknown_word" in fact for fact in unknown)


@pytest.mark.parametrize("case", golden.ALL, ids=str)
def test_a_repeat_has_the_same_event_ids(case: Case) -> None:
    later = {"received_at": RECEIVED_AT + 30 * 86_400_000_000, "origin": "callbacks/5/77"}
    first = golden.facts(case.instance(), case.raw())
    again = golden.facts(case.instance(), case.raw(source="replay", **later))
    assert ids(first) == ids(again)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_two_cases_tell_differently_has_different_ids(provider: str) -> None:
    told: dict[str, tuple[Any, ...]] = {}
    for case in golden.cases(provider):
        for fact in case.content["expected"]:
            event = fact.get("event", {})
            said = (event.get("status"), event.get("provider_status"), event.get("denies"))
            if event:
                assert told.setdefault(event["event_id"], said) == said


@pytest.mark.parametrize(("callback", "lookup"), PAIRS, ids=str)
def test_callback_and_lookup_of_the_same_fact_say_the_same_status(
    callback: Case, lookup: Case
) -> None:
    assert statuses(callback) & statuses(lookup)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_provider_has_such_a_pair(provider: str) -> None:
    assert any(callback.provider == provider for callback, _ in PAIRS)


@pytest.mark.parametrize("case", SIGNED, ids=str)
def test_a_changed_body_is_refused(case: Case) -> None:
    inbound = case.inbound()
    with pytest.raises(BadSignature):
        case.instance().authenticate(
            Inbound(inbound.path, inbound.headers, inbound.body + b" "), golden.jwks(), RECEIVED_AT
        )


@pytest.mark.parametrize("case", SIGNED, ids=str)
def test_a_missing_signature_is_refused(case: Case) -> None:
    inbound = case.inbound()
    kept = case.instance().kept_headers
    headers = {name: value for name, value in inbound.headers.items() if name not in kept}
    with pytest.raises(BadSignature):
        case.instance().authenticate(
            Inbound(inbound.path, headers, inbound.body), golden.jwks(), RECEIVED_AT
        )


@pytest.mark.parametrize("case", golden.ALL, ids=str)
def test_the_key_is_an_id_the_facts_speak_of(case: Case) -> None:
    request = case.content["request"]
    content_type = request["headers"].get("content-type", "")
    key = case.instance().key(request["body"].encode(), content_type)
    facts = str(case.content["expected"])
    assert not case.is_callback or key is None or key in facts or "unreadable" in facts


@pytest.mark.parametrize("provider", PROVIDERS)
@settings(deadline=None)
@given(data=st.data())
def test_no_input_raises_anything_undeclared(provider: str, data: st.DataObject) -> None:
    body = data.draw(bodies(provider))
    headers = data.draw(header_maps(provider))
    known = instance(provider)
    key = known.key(body, headers.get("content-type", ""))
    assert key is None or isinstance(key, str)
    for case in (known, *(case.instance() for case in golden.cases(provider)[:1])):
        for jwks in (None, golden.jwks(), body):
            try_to(case.authenticate, Inbound("/callbacks/x", headers, body), jwks, RECEIVED_AT)
    link_id = data.draw(st.none() | st.just("a-link"))
    raw = Raw(provider, body, headers, "callback", False, 1, golden.ORIGIN, link_id=link_id)
    with contextlib.suppress(Unreadable):
        # A fact or a dead letter: nothing that was acknowledged says nothing at all.
        assert any(known.read(raw))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_refused_lookup_is_to_be_asked_again(provider: str, status: int) -> None:
    question: LookupRequest = {
        "request_id": "1",
        "provider": provider,
        "link_id": "a/link?x=1",
        "reason": "CLAIM",
        "claimed_status": "PAID",
        "payment_id": None,
        "issued": True,
        "requested_at": RECEIVED_AT,
    }
    lookup = instance(provider).lookup(question, RECEIVED_AT)
    assert next(lookup).url.startswith("https://")
    with pytest.raises(LookupRefused) as refused:
        lookup.send(ApiResponse(status))
    assert refused.value.response.status == status


@pytest.mark.parametrize("provider", PROVIDERS)
def test_without_credentials_there_is_no_lookup(provider: str) -> None:
    assert instance(provider).can_look_up() is False


def ids(facts: list[dict[str, Any]]) -> list[Any]:
    return [
        fact.get(kind, {}).get("event_id") for fact in facts for kind in ("event", "notice")
    ] + [fact["payment"].get("event", {}).get("event_id") for fact in facts if "payment" in fact]


def try_to(call: Any, *arguments: Any) -> None:
    with contextlib.suppress(BadSignature, KeysNeeded, Unreadable):
        call(*arguments)


@cache
def bodies(provider: str) -> st.SearchStrategy[bytes]:
    """Any bytes, any JSON, and golden bodies with any one value put in place of another."""
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
    names = sorted(instance(provider).kept_headers | {"content-type", "lookup-status"})
    known = [case.inbound().headers for case in golden.cases(provider)]
    values = st.text(max_size=60) | st.sampled_from(
        [value for headers in known for value in headers.values()]
    )
    return st.dictionaries(st.sampled_from(names), values, max_size=6)

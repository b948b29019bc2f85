"""Rules for every registered provider. No test names a provider."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.providers.base import (
    Answer,
    ApiRequest,
    ApiResponse,
    BadSignature,
    Inbound,
    KeysNeeded,
    Provider,
    RetryableApiError,
    Unreadable,
)
from connectors.providers.order_api import OrderApi
from connectors.providers.raw import Raw
from connectors.providers.registry import PROVIDERS
from schemas.records import ENDED
from tests.connectors.providers import exchanges, golden
from tests.connectors.providers.golden import RECEIVED_AT, Case
from tests.support.odd_callbacks import bodies, header_maps

every_provider = pytest.mark.parametrize("provider", PROVIDERS)
BY_NAME = {str(case): case for case in golden.ALL}
# A callback and the lookup of the same fact have the names X and lookup-X.
PAIRS = [
    (case, BY_NAME[lookup])
    for case in golden.ALL
    if (lookup := f"{case.provider}/lookup-{case.file.stem}") in BY_NAME
    and not any("unknown_status" in fact for fact in case.expected)
]
LOOKUPS = [
    case
    for case in golden.ALL
    if not case.is_callback and not case.content["request"]["headers"].get("lookup-status")
]
REFUSING = [case for case in golden.ALL if any("refused" in fact for fact in case.expected)]


def events(case: Case) -> list[dict[str, Any]]:
    """Return the expected events, joined or not."""
    joined = [fact["payment"].get("event") for fact in case.expected if "payment" in fact]
    return [event for event in (*(fact.get("event") for fact in case.expected), *joined) if event]


def statuses(case: Case) -> set[tuple[str, str]]:
    """Return our status and the provider's status of each event."""
    return {(event["status"], event["provider_status"]) for event in events(case)}


def instance(provider: str) -> Provider:
    return PROVIDERS[provider](PROVIDERS[provider].Config())


@every_provider
def test_golden_cases_cover_every_status(provider: str) -> None:
    cases = golden.cases(provider)
    assert cases, "a provider without golden cases is not finished"
    covered = {provider_status for case in cases for _, provider_status in statuses(case)}
    assert set(PROVIDERS[provider].STATUS) - covered == set()
    assert any("unknown_status" in fact for case in cases for fact in case.expected)
    assert any(callback.provider == provider for callback, _ in PAIRS)


def test_providers_that_settle_by_order_have_an_order_api() -> None:
    by_order = {name for name, kind in PROVIDERS.items() if kind.settlement == "by_order"}
    assert by_order == {name for name, kind in PROVIDERS.items() if issubclass(kind, OrderApi)}


@every_provider
def test_without_credentials_there_is_no_lookup(provider: str) -> None:
    assert instance(provider).can_look_up() is False


@pytest.mark.parametrize("case", golden.ALL, ids=str)
def test_repeat_has_the_same_event_ids(case: Case) -> None:
    later = {"received_at": RECEIVED_AT + 30 * 86_400_000_000, "origin": "callbacks/5/77"}
    first = golden.facts(case.instance(), case.raw())
    repeat = golden.facts(case.instance(), case.raw(source="replay", **later))
    assert event_ids(first) == event_ids(repeat)


@pytest.mark.parametrize("case", REFUSING, ids=str)
def test_replay_of_a_refused_item_reads_only_this_item(case: Case) -> None:
    for refused in [fact for fact in case.expected if "refused" in fact]:
        item = refused["refused"].partition(":")[0]
        assert golden.facts(case.instance(), case.raw(item=item)) == [refused]


def event_ids(facts: list[dict[str, Any]]) -> list[str | None]:
    records = [fact.get("event") or fact.get("notice") for fact in facts]
    joined = [fact["payment"].get("event") for fact in facts if "payment" in fact]
    return [record and record["event_id"] for record in (*records, *joined)]


@every_provider
def test_different_facts_have_different_event_ids(provider: str) -> None:
    stated: dict[str, tuple[Any, ...]] = {}
    for case in golden.cases(provider):
        for event in [fact["event"] for fact in case.expected if "event" in fact]:
            facts = (event["status"], event["provider_status"], event.get("denies"))
            assert stated.setdefault(event["event_id"], facts) == facts


@pytest.mark.parametrize(("callback", "lookup"), PAIRS, ids=str)
def test_callback_and_lookup_of_one_fact_state_the_same_status(
    callback: Case, lookup: Case
) -> None:
    assert statuses(callback) & statuses(lookup)


@pytest.mark.parametrize("case", [case for case in golden.ALL if case.is_callback], ids=str)
def test_key_is_an_id_in_the_facts(case: Case) -> None:
    request, facts = case.content["request"], str(case.expected)
    content_type = request["headers"].get("content-type", "")
    key = case.instance().key(request["body"].encode(), content_type)
    assert key is None or key in facts or "unreadable" in facts


@every_provider
@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_retryable_status_raises_retryable_error(provider: str, status: int) -> None:
    lookup = instance(provider).lookup(exchanges.request(provider), RECEIVED_AT)
    assert next(lookup).url.startswith("https://")
    with pytest.raises(RetryableApiError) as error:
        lookup.send(ApiResponse(status))
    assert error.value.response.status == status


@pytest.mark.parametrize("case", LOOKUPS, ids=str)
def test_lookup_and_facts_agree_whether_the_link_has_ended(case: Case) -> None:
    raw = case.raw()
    ended = any(event["status"] in ENDED or "coverage" in event for event in events(case))
    assert answer_of(case.instance(), raw.link_id or "", raw.body).ended is ended


def answer_of(provider: Provider, link_id: str, body: bytes) -> Answer:
    """Return the answer of a lookup whose API responds with the parts of `body`."""
    parts = json.loads(body)
    documents = iter(parts.values() if "payment_link" in parts else [parts])

    def respond(request: ApiRequest) -> ApiResponse:
        if request.method == "POST":
            return exchanges.TOKEN
        return ApiResponse(200, json.dumps(next(documents, {})).encode())

    return exchanges.look_up(provider, respond, link_id=link_id)[0]


@pytest.mark.parametrize("case", [case for case in golden.ALL if events(case)], ids=str)
def test_c_side_field_that_cannot_be_read_counts_as_absent(case: Case) -> None:
    body = case.content["request"]["body"]
    expected = stated(case, body.encode())
    for number, path in enumerate(paths(json.loads(body)) if body.startswith("{") else ()):
        if stated(case, without(body, path)) == expected:
            for value in ODD_VALUES[number % 3 :: 3]:
                assert stated(case, replaced(body, path, value)) == expected, (path, value)


ODD_VALUES = (
    *(b"null", b'""', b"[]", b"{}", b"true", b"-1", b"1e400", b"1e99999999999999999999", b"NaN"),
    *(b"1" * 5000, b'"\\u0000"', b'"\\ud800"', b'"\xff"', b'"a\nb"', b'"%s"' % (b"x" * 600)),
    *(b'"2026-12-31T23:59:60Z\\n"', b'[{"id": []}]', b'{"items": null}', b"[[[[[]]]]]"),
)


def stated(case: Case, body: bytes) -> set[tuple[Any, ...]]:
    """Return link, status and provider's status of each event in the body."""
    try:
        facts = case.instance().read(case.raw(body=body))
    except Unreadable as error:
        return {(str(error),)}
    joined = [fact["event"] for fact in facts.payments if fact["event"]]
    return {(e["link_id"], e["status"], e["provider_status"]) for e in (*facts.events, *joined)}


def paths(document: Any) -> list[tuple[str, ...]]:
    """Return the path of each field, inner ones too."""
    if not isinstance(document, dict):
        return []
    inner = [(name, *path) for name, value in document.items() for path in paths(value)]
    return [(name,) for name in document] + inner


def without(body: str, path: tuple[str, ...]) -> bytes:
    document = json.loads(body)
    del parent(document, path)[path[-1]]
    return json.dumps(document).encode()


def replaced(body: str, path: tuple[str, ...], value: bytes) -> bytes:
    document = json.loads(body)
    parent(document, path)[path[-1]] = "<value>"
    return json.dumps(document).encode().replace(b'"<value>"', value)


def parent(document: Any, path: tuple[str, ...]) -> Any:
    for name in path[:-1]:
        document = document[name]
    return document


@every_provider
@settings(deadline=None)
@given(data=st.data())
def test_no_input_raises_an_undeclared_error(provider: str, data: st.DataObject) -> None:
    body = data.draw(bodies(provider))
    headers = data.draw(header_maps(provider))
    unconfigured = instance(provider)
    key = unconfigured.key(body, headers.get("content-type", ""))
    assert key is None or isinstance(key, str)
    for case in (unconfigured, *(case.instance() for case in golden.cases(provider)[:1])):
        for jwks in (None, golden.jwks(), body):
            with contextlib.suppress(BadSignature, KeysNeeded, Unreadable):
                case.authenticate(Inbound("/callbacks/x", headers, body), jwks, RECEIVED_AT)
    link_id = data.draw(st.none() | st.just("a-link"))
    raw = Raw(
        *(provider, body, headers, "callback", False, 1, golden.ORIGIN),
        link_id=link_id,
        lookup_status=headers.get("lookup-status", "200"),
    )
    with contextlib.suppress(Unreadable):
        # Every acknowledged callback yields a fact or a dead letter.
        assert any(unconfigured.read(raw))

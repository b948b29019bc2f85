"""Every golden request is read into the facts beside it (`--update-golden` rewrites them)."""

import json
from typing import Any

import pytest

from connectors import examples
from connectors.registry import PROVIDERS
from schemas import codec
from tests.connectors import golden
from tests.connectors.golden import RECEIVED_AT, Case

CALLBACKS = [case for case in golden.ALL if case.is_callback]


@pytest.mark.parametrize("case", golden.ALL, ids=str)
def test_a_golden_request_is_read_into_its_facts(case: Case, update_golden: bool) -> None:
    found = golden.facts(case.instance(), case.raw())
    if update_golden:
        case.content["expected"] = found
        case.file.write_text(json.dumps(case.content, indent=2, ensure_ascii=False) + "\n")
    assert found == case.content["expected"]


@pytest.mark.parametrize("case", CALLBACKS, ids=str)
def test_a_golden_request_is_as_authentic_as_its_record_says(case: Case) -> None:
    proven = case.instance().authenticate(case.inbound(), golden.jwks(), RECEIVED_AT)
    assert proven is case.content["record"]["verified"]


@pytest.mark.parametrize("case", golden.ALL, ids=str)
def test_the_facts_fit_the_schemas(case: Case) -> None:
    expected: list[dict[str, Any]] = case.content["expected"]
    if any("unreadable" in fact or "unknown_word" in fact for fact in expected):
        return
    facts = case.instance().read(case.raw())
    for event in facts.events:
        assert codec.LINK_EVENT.decode(codec.LINK_EVENT.encode(event)) == event
    for payment in facts.payments:
        assert codec.PAYMENT_EVENT.decode(codec.PAYMENT_EVENT.encode(payment)) == payment
    for notice in facts.notices:
        assert codec.NOTICE.decode(codec.NOTICE.encode(notice)) == notice
    for question in facts.questions:
        assert codec.LOOKUP_REQUEST.decode(codec.LOOKUP_REQUEST.encode(question)) == question


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_example_is_a_golden_case(provider: str) -> None:
    bodies = {case.content["request"]["body"].encode() for case in golden.cases(provider)}
    assert examples.names(provider)
    for name in examples.names(provider):
        assert examples.body(provider, name) in bodies


def test_an_example_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(KeyError, match="completed"):
        examples.body("ipint", "nothing")

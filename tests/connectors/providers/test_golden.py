"""Every golden request yields the facts in its file (`--update-golden` rewrites them)."""

import json
from typing import Any

import pytest

from connectors.providers import examples
from connectors.providers.registry import PROVIDERS
from schemas import codec
from tests.connectors.providers import golden
from tests.connectors.providers.golden import RECEIVED_AT, Case
from tests.support.codecs import CODECS

CALLBACKS = [case for case in golden.ALL if case.is_callback]
READABLE = [
    case
    for case in golden.ALL
    if not {"unreadable", "unknown_status"} & {name for fact in case.expected for name in fact}
]


@pytest.mark.parametrize("case", golden.ALL, ids=str)
def test_golden_request_yields_its_facts(case: Case, update_golden: bool) -> None:
    facts = golden.facts(case.instance(), case.raw())
    if update_golden:
        case.content["expected"] = facts
        case.file.write_text(json.dumps(case.content, indent=2, ensure_ascii=False) + "\n")
    assert facts == case.expected


@pytest.mark.parametrize("case", CALLBACKS, ids=str)
def test_golden_request_is_as_authentic_as_its_record_states(case: Case) -> None:
    verified = case.instance().authenticate(case.inbound(), golden.jwks(), RECEIVED_AT)
    assert verified is case.content["record"]["verified"]


@pytest.mark.parametrize("case", READABLE, ids=str)
def test_facts_fit_their_schemas(case: Case) -> None:
    facts = case.instance().read(case.raw())
    records: list[tuple[codec.Schema[Any], Any]] = [
        *((codec.LINK_EVENT, event) for event in facts.events),
        *((codec.PAYMENT_EVENT, payment) for payment in facts.payments),
        *((codec.NOTICE, notice) for notice in facts.notices),
        *((codec.LOOKUP_REQUEST, lookup) for lookup in facts.lookups),
    ]
    for schema, record in records:
        assert CODECS.decode(schema, CODECS.encode(schema, record)) == record


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_example_is_a_golden_case(provider: str) -> None:
    bodies = {case.content["request"]["body"].encode() for case in golden.cases(provider)}
    names = examples.names(provider)
    assert names
    assert {examples.body(provider, name) for name in names} <= bodies


def test_unknown_example_names_the_existing_ones() -> None:
    with pytest.raises(KeyError, match="completed"):
        examples.body("ipint", "nothing")

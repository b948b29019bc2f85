"""One suite over all providers: what their simulators sign is judged by the code under test.

The simulators sign from the vendors' documents, so neither can hide a mistake of the other. A
rotation is two accounts whose secrets the pipeline both has.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors import examples
from connectors.provider import BadSignature, Inbound, KeysNeeded, Provider
from connectors.registry import PROVIDERS
from connectors.sandbox.deliver import signed_headers
from connectors.sandbox.simulator import Callback
from connectors.sandbox.sites import sandbox_of
from tests.connectors.sandboxes import BASE_URL, NOW, Simulated

Signed = tuple[Inbound, Simulated]


def setting(value: str) -> Any:
    return json.loads(value) if value.startswith("[") else value


def configured(*accounts: Simulated) -> Provider:
    """The provider with the secrets of all these accounts where it takes several."""
    told: dict[str, Any] = {}
    for account in accounts:
        for name, text in account.sandbox.environment(account.site).items():
            value, known = setting(text), told.get(name.lower())
            told[name.lower()] = [*known, *value] if isinstance(known, list) else value
    kind = PROVIDERS[accounts[0].sandbox.name]
    return kind(kind.Config.model_validate(told))


def judged(provider: Provider, inbound: Inbound, *accounts: Simulated) -> bool:
    """The provider's verdict, with the key set of these accounts if it asks for one."""
    try:
        return provider.authenticate(inbound, None, NOW)
    except KeysNeeded as need:
        path = need.url.removeprefix(f"{BASE_URL}/{provider.name}")
    sets = [json.loads(account.call("GET", path).body)["keys"] for account in accounts]
    keys = json.dumps({"keys": [key for keys in sets for key in keys]}).encode()
    try:
        return provider.authenticate(inbound, keys, NOW)
    except KeysNeeded as need:
        raise BadSignature(str(need)) from need


def delivered(account: Simulated, body: bytes, content_type: str) -> Inbound:
    """The callback as the simulated provider would send it."""
    url = account.site.callback_url
    callback = Callback(body, content_type, id="5f0c9b1e-6c0e-4f43-8a57-0a3b0a6f9f10")
    headers = signed_headers(type(account.sandbox), account.site, callback, url, NOW)
    return Inbound(urlsplit(url).path, dict(headers), body)


def cases() -> Iterator[Any]:
    for provider in PROVIDERS:
        for name in examples.names(provider):
            yield pytest.param(provider, name, id=f"{provider}/{name}")


def kept_headers(provider: str) -> frozenset[str]:
    return PROVIDERS[provider](PROVIDERS[provider].Config()).kept_headers


def signs(provider: str) -> bool:
    return bool(kept_headers(provider))


def example(provider: str, name: str, account: Simulated) -> Inbound:
    body, kind = examples.body(provider, name), examples.content_type(provider, name)
    return delivered(account, body, kind)


ALL = list(cases())
ACCOUNTS = {provider: Simulated(provider) for provider in PROVIDERS}


def comes_signed(provider: str, name: str) -> bool:
    return bool(proofs(provider, example(provider, name, ACCOUNTS[provider]).headers))


def changed(inbound: Inbound, **changes: Any) -> Inbound:
    told = {"path": inbound.path, "headers": inbound.headers, "body": inbound.body}
    return Inbound(**{**told, **changes})


def proofs(provider: str, headers: Mapping[str, str]) -> list[str]:
    """Headers that prove something; one names only the algorithm, in a form not documented."""
    kept = kept_headers(provider)
    return [name for name in headers if name in kept and not name.endswith("algorithm")]


SIGNED = [case for case in ALL if comes_signed(*case.values)]
UNSIGNED = [case for case in ALL if not comes_signed(*case.values)]


@pytest.mark.parametrize(("provider", "name"), SIGNED)
def test_right_and_rotated_are_proven(provider: str, name: str) -> None:
    new, old = Simulated(provider), Simulated(provider)
    rotating = configured(new, old)
    for account in (new, old):
        assert judged(rotating, example(provider, name, account), new, old) is True


@pytest.mark.parametrize(("provider", "name"), SIGNED)
def test_a_strangers_signature_is_refused(provider: str, name: str) -> None:
    mine, stranger = Simulated(provider), Simulated(provider)
    with pytest.raises(BadSignature):
        judged(configured(mine), example(provider, name, stranger), mine)


@pytest.mark.parametrize(("provider", "name"), SIGNED)
def test_tampered_is_refused(provider: str, name: str) -> None:
    mine = Simulated(provider)
    good, known = example(provider, name, mine), configured(mine)
    tampered = [changed(good, body=good.body + b" "), changed(good, body=b"{}")]
    for header in proofs(provider, good.headers):
        text = good.headers[header]
        for wrong in ("", text[:-1], text[:-2] + ("00" if text[-2:] != "00" else "11")):
            tampered.append(changed(good, headers={**good.headers, header: wrong}))
    for inbound in tampered:
        with pytest.raises(BadSignature):
            judged(known, inbound, mine)


@pytest.mark.parametrize(("provider", "name"), SIGNED)
def test_missing_is_refused(provider: str, name: str) -> None:
    mine = Simulated(provider)
    good = example(provider, name, mine)
    for missing in proofs(provider, good.headers):
        headers = {n: text for n, text in good.headers.items() if n != missing}
        with pytest.raises(BadSignature):
            judged(configured(mine), changed(good, headers=headers), mine)


@pytest.mark.parametrize(("provider", "name"), UNSIGNED)
def test_unsigned_is_a_claim_whatever_headers_it_brings(provider: str, name: str) -> None:
    mine = Simulated(provider)
    good = example(provider, name, mine)
    assert judged(configured(mine), good) is False
    forged = {**good.headers, "authorization": "Bearer x", "x-signature": "00", "verified": "1"}
    assert judged(configured(mine), changed(good, headers=forged)) is False


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_simulator_signs_where_the_provider_does(provider: str) -> None:
    mine = Simulated(provider)
    signature = sandbox_of(provider).sign(mine.site, Callback(b"{}"), mine.site.callback_url, NOW)
    assert bool(signature) is signs(provider)
    assert signs(provider) is any(case.values[0] == provider for case in SIGNED)

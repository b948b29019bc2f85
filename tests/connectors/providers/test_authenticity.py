"""For all providers: the code under test verifies what the simulators sign.

The simulators sign from the vendors' documents, so neither side can hide a mistake of the other. A
rotation is two accounts, and the pipeline has the secrets of both.
"""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors.providers import examples
from connectors.providers.base import BadSignature, Inbound, KeysNeeded, Provider
from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Callback
from connectors.sandbox.delivery import signed_headers
from tests.connectors.sandbox.sandboxes import BASE_URL, NOW, Simulated

ACCOUNTS = {provider: Simulated(provider) for provider in PROVIDERS}


def configured(*accounts: Simulated) -> Provider:
    """Return the provider with the secrets of all these accounts, where it accepts several."""
    settings: dict[str, Any] = {}
    for account in accounts:
        for name, value in account.settings().items():
            known = settings.get(name)
            settings[name] = [*known, *value] if isinstance(known, list) else value
    kind = PROVIDERS[accounts[0].sandbox.kind]
    return kind(kind.Config.model_validate(settings))


def authenticate(provider: Provider, inbound: Inbound, *accounts: Simulated) -> bool:
    """Authenticate the callback, with the key sets of these accounts if keys are needed."""
    try:
        return provider.authenticate(inbound, None, NOW)
    except KeysNeeded as needed:
        path = needed.url.removeprefix(f"{BASE_URL}/{provider.name}")
    sets = [json.loads(account.call("GET", path).body)["keys"] for account in accounts]
    keys = json.dumps({"keys": [key for keys in sets for key in keys]}).encode()
    try:
        return provider.authenticate(inbound, keys, NOW)
    except KeysNeeded as needed:
        raise BadSignature(str(needed)) from needed


def example(provider: str, name: str, account: Simulated) -> Inbound:
    """Return the example as the simulated provider sends it."""
    url = account.site.callback_url
    body, content_type = examples.body(provider, name), examples.content_type(provider, name)
    callback = Callback(body, content_type, id="5f0c9b1e-6c0e-4f43-8a57-0a3b0a6f9f10")
    headers = signed_headers(type(account.sandbox), account.site, callback, url, NOW)
    return Inbound(urlsplit(url).path, dict(headers), body)


def kept_headers(provider: str) -> frozenset[str]:
    return PROVIDERS[provider](PROVIDERS[provider].Config()).kept_headers


def signatures(provider: str, inbound: Inbound) -> list[str]:
    """Return the headers that are part of the proof.

    One header only names the algorithm, in a format that is not documented.
    """
    kept = kept_headers(provider)
    return [name for name in inbound.headers if name in kept and not name.endswith("algorithm")]


ALL = [(provider, name) for provider in PROVIDERS for name in examples.names(provider)]
SIGNED = [(p, n) for p, n in ALL if signatures(p, example(p, n, ACCOUNTS[p]))]
UNSIGNED = [case for case in ALL if case not in SIGNED]

signed = pytest.mark.parametrize(("provider", "name"), SIGNED)


@signed
def test_current_and_rotated_secrets_are_verified(provider: str, name: str) -> None:
    new, old = Simulated(provider), Simulated(provider)
    rotating = configured(new, old)
    for account in (new, old):
        assert authenticate(rotating, example(provider, name, account), new, old) is True


@signed
def test_signature_of_another_account_is_refused(provider: str, name: str) -> None:
    mine, other = Simulated(provider), Simulated(provider)
    with pytest.raises(BadSignature):
        authenticate(configured(mine), example(provider, name, other), mine)


@pytest.mark.parametrize(
    ("provider", "name"), [("peach", "completed"), ("truelayer", "payment_settled")]
)
def test_signature_for_the_url_of_another_account_is_refused(provider: str, name: str) -> None:
    """Even with the same keys: TrueLayer has the same ones for all its customers."""
    mine = Simulated(provider)
    sent = example(provider, name, mine)
    settings = mine.settings()
    if "webhook_url" in settings:
        settings["webhook_url"] += "_ke"
    other = PROVIDERS[provider](PROVIDERS[provider].Config.model_validate(settings))
    assert authenticate(configured(mine), sent, mine)
    with pytest.raises(BadSignature):
        authenticate(other, Inbound(f"{sent.path}_ke", sent.headers, sent.body), mine)


@signed
def test_changed_body_and_changed_or_missing_signature_are_refused(
    provider: str, name: str
) -> None:
    mine = Simulated(provider)
    valid, ours = example(provider, name, mine), configured(mine)
    path, headers = valid.path, valid.headers
    changed = [Inbound(path, headers, valid.body + b" "), Inbound(path, headers, b"{}")]
    for header in signatures(provider, valid):
        text = headers[header]
        for wrong in ("", text[:-1], text[:-2] + ("00" if text[-2:] != "00" else "11")):
            changed.append(Inbound(path, {**headers, header: wrong}, valid.body))
        others = {name: text for name, text in headers.items() if name != header}
        changed.append(Inbound(path, others, valid.body))
    for inbound in changed:
        with pytest.raises(BadSignature):
            authenticate(ours, inbound, mine)


@pytest.mark.parametrize(("provider", "name"), UNSIGNED)
def test_unsigned_callback_is_a_claim_whatever_its_headers(provider: str, name: str) -> None:
    mine = Simulated(provider)
    callback = example(provider, name, mine)
    assert authenticate(configured(mine), callback) is False
    forged = {"authorization": "Bearer x", "x-signature": "00", "verified": "1"}
    inbound = Inbound(callback.path, {**callback.headers, **forged}, callback.body)
    assert authenticate(configured(mine), inbound) is False


@pytest.mark.parametrize("provider", PROVIDERS)
def test_simulator_signs_if_the_provider_does(provider: str) -> None:
    mine = Simulated(provider)
    signature = mine.sandbox.sign(mine.site, Callback(b"{}"), mine.site.callback_url, NOW)
    signs = bool(kept_headers(provider))
    assert bool(signature) is signs
    assert signs is any(case[0] == provider for case in SIGNED)

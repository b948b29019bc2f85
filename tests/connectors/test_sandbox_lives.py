"""Every life a simulated link may have, through the provider's own code and the rules, without I/O:
what a play expects in the end is what comes of it, in whatever order its callbacks arrive.
"""

import json
from importlib import import_module
from random import Random
from typing import Any

import pytest

from connectors import examples
from connectors.provider import ApiRequest, ApiResponse, Inbound, Provider, Raw
from connectors.registry import PROVIDERS
from connectors.sandbox.simulator import Callback, NewLink, said
from connectors.sandbox.sites import sandbox_of
from schemas.records import LinkEvent, LinkStatus, LookupRequest, PaymentLink
from streams.domain.joining import join
from streams.domain.rules import ProviderRules
from streams.domain.tracking import lookup_request, track
from streams.settings import load
from streams.work import rules
from tests.connectors.sandboxes import BASE_URL, NOW, Simulated, shown

LIVES = [(name, outcome) for name in PROVIDERS for outcome in sandbox_of(name).LIVES]
LINK = "aLinkOfTheTests"


class Pipeline:
    """The stages from raw callback to row, for one link of one provider."""

    def __init__(self, simulated: Simulated, provider: Provider, rules: ProviderRules) -> None:
        self.simulated, self.provider, self.rules = simulated, provider, rules
        self.asked = 0
        self.notices: list[str] = []
        self.row: LinkStatus | None = None
        self.payments: dict[str, PaymentLink] = {}

    def receive(self, callback: Callback) -> None:
        site = self.simulated.site
        signed = self.simulated.sandbox.sign(site, callback, site.callback_url, NOW)
        headers = {name.lower(): value for name, value in signed.items()}
        headers["content-type"] = callback.content_type
        path = site.callback_url.removeprefix("http://edge.test")
        jwks = None
        if self.provider.name == "truelayer":
            jwks = json.dumps(shown(self.simulated.call("GET", "/.well-known/jwks"))).encode()
        inbound = Inbound(path, headers, callback.body)
        verified = self.provider.authenticate(inbound, jwks, NOW)
        assert verified == (len(signed) > 0)
        self.absorb(
            Raw(
                self.provider.name,
                callback.body,
                headers,
                "callback",
                verified,
                NOW,
                "callbacks/0/0",
            )
        )

    def absorb(self, raw: Raw) -> None:
        facts = self.provider.read(raw)
        self.notices += [notice["kind"] for notice in facts.notices]
        for event in facts.events:
            self.take(event)
        for payment in facts.payments:
            joined = join(self.payments.get(payment["payment_id"]), payment)
            self.payments[payment["payment_id"]] = joined.row
            for event in joined.events:
                self.take(event)

    def take(self, event: LinkEvent) -> None:
        tracked = track(self.row, event, self.rules)
        self.row = tracked.row
        if tracked.lookup is not None:
            self.look_up(tracked.lookup)

    def register(self) -> None:
        raw = Raw(self.provider.name, b"", {}, "registration", True, NOW, "links/0/0")
        self.take(raw.event(LINK, "CREATED", "registered"))

    def look_up(self, request: LookupRequest) -> None:
        asking = self.provider.lookup(request, NOW)
        try:
            wanted = next(asking)
            while True:
                wanted = asking.send(self.ask(wanted))
        except StopIteration as done:
            answer = done.value
        headers = {"lookup-status": str(answer.status)}
        self.absorb(
            Raw(
                self.provider.name,
                answer.body,
                headers,
                "lookup",
                True,
                NOW,
                "callbacks/0/1",
                request["link_id"],
                request["claimed_status"],
            )
        )

    def ask(self, wanted: ApiRequest) -> ApiResponse:
        """Below the mount, as the host passes it on."""
        self.asked += 1
        _, _, url = wanted.url.removeprefix(f"{BASE_URL}/").partition("/")
        request = ApiRequest(wanted.method, f"/{url}", wanted.headers, wanted.body)
        return self.simulated.sandbox.answer(request, NOW)


def pipeline(name: str) -> Pipeline:
    simulated = Simulated(name)
    settings: dict[str, Any] = {
        setting.lower(): json.loads(value) if value.startswith("[") else value
        for setting, value in sandbox_of(name).environment(simulated.site).items()
    }
    loaded = load(**{name: settings})
    provider = loaded.providers()[name]
    return Pipeline(simulated, provider, rules(loaded, {name: provider})[name])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "outcome"), LIVES)
def test_a_life_ends_as_a_play_expects(name: str, outcome: str, seed: int) -> None:
    life, chance, through = sandbox_of(name).LIVES[outcome], Random(seed), pipeline(name)
    sandbox = through.simulated.sandbox
    sandbox.create(NewLink(LINK, 12345, sandbox.CURRENCY, "order-1"), NOW)
    for word in life.words:
        sandbox.move(LINK, word, NOW)
    callbacks = through.simulated.owed()
    assert life.heard or not callbacks
    if not life.heard:
        through.register()
    for callback in chance.sample(callbacks * 2, 2 * len(callbacks)):
        through.receive(callback)
    if not life.heard:
        assert through.row is not None
        through.look_up(lookup_request(through.row, "POLL", NOW))
    row = through.row
    assert row is not None
    assert row["status"] in life.status
    assert (row["coverage"], row["anomalies"]) == (life.coverage, list(life.anomalies))
    if row["status"] == "PAID":
        assert (row["amount_minor"], row["currency"]) == (12345, sandbox.CURRENCY)
    if name == "ping":
        assert (row["order_id"], row["order_from"]) == ("order-1", "LOOKUP")


def test_what_is_no_business_of_a_link_is_kept_as_a_notice_and_makes_no_noise() -> None:
    through, life = pipeline("truelayer"), "paid, then refunded, among other business"
    sandbox = through.simulated.sandbox
    sandbox.create(NewLink(LINK, 12345, sandbox.CURRENCY), NOW)
    for word in sandbox.LIVES[life].words:
        sandbox.move(LINK, word, NOW)
    for callback in through.simulated.owed():
        through.receive(callback)
    told = ["refund_executed", "refund_failed", "payout_executed", "mandate_authorized"]
    assert through.notices == told
    assert through.row is not None
    assert (through.row["status"], through.row["anomalies"]) == ("PAID", [])


@pytest.mark.parametrize("word", ["FAILED", "CANCELLED", "UNDERPAID", "COMPLETED"])
def test_ipint_is_not_queried_after_an_end_whatever_callbacks_say(word: str) -> None:
    through = pipeline("ipint")
    sandbox = through.simulated.sandbox
    sandbox.create(NewLink(LINK, 12345, sandbox.CURRENCY), NOW)
    sandbox.move(LINK, word, NOW)
    through.register()
    assert through.row is not None
    through.look_up(lookup_request(through.row, "POLL", NOW))
    ended, asked = through.row["status"], through.asked
    for status in ("FAILED", "COMPLETED", "FAILED"):
        through.receive(said({"invoice_id": LINK, "status": status}))
    assert (through.row["status"], through.asked, asked) == (ended, 1, 1)


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_link_of_the_seeds_examples_can_be_looked_up(name: str) -> None:
    through = pipeline(name)
    through.simulated.sandbox.seed("", NOW)
    seed_link = import_module(sandbox_of(name).__module__).SEED_LINK
    # It is the one the examples tell of.
    bodies = [examples.body(name, example) for example in examples.names(name)]
    assert any(seed_link.encode() in body for body in bodies)
    raw = Raw(name, b"", {}, "registration", True, NOW, "links/0/0")
    through.take(raw.event(seed_link, "CREATED", "registered"))
    assert through.row is not None
    through.look_up(lookup_request(through.row, "POLL", NOW))
    assert through.row["status"] == "PAID"
    assert through.row["anomalies"] == []

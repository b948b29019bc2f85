"""Every lifecycle of a simulated link, through the provider's own code and the rules, without I/O.

The result is the expected one, in whatever order the callbacks arrive.
"""

import json
from random import Random

import pytest

from connectors.providers import examples
from connectors.providers.base import Inbound, Provider
from connectors.providers.facts import link_event
from connectors.providers.raw import Raw
from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Callback, json_callback
from connectors.sandbox.config import simulator_of
from schemas.records import LinkEvent, LinkStatus, LookupRequest, PaymentLink
from streams.domain.join import join
from streams.domain.rules import ProviderRules
from streams.domain.track import lookup_request, track
from streams.settings import load
from streams.worker import rules
from tests.connectors.sandbox.sandboxes import NOW, Simulated, document

ALL = [(name, outcome) for name in PROVIDERS for outcome in simulator_of(name).LIFECYCLES]
LINK = "aLinkOfTheTests"


class Pipeline:
    """The stages from raw callback to row, for one link of one provider."""

    def __init__(self, simulated: Simulated, provider: Provider, rules: ProviderRules) -> None:
        self.simulated, self.provider, self.rules = simulated, provider, rules
        self.sandbox = simulated.sandbox
        self.lookups = 0
        self.row: LinkStatus | None = None
        self.payments: dict[str, PaymentLink] = {}

    def receive(self, callback: Callback) -> None:
        site = self.simulated.site
        signed = self.sandbox.sign(site, callback, site.callback_url, NOW)
        headers = {name.lower(): value for name, value in signed.items()}
        headers["content-type"] = callback.content_type
        jwks = None
        if self.provider.name == "truelayer":
            jwks = json.dumps(document(self.simulated.call("GET", "/.well-known/jwks"))).encode()
        path = site.callback_url.removeprefix("http://edge.test")
        inbound = Inbound(path, headers, callback.body)
        verified = self.provider.authenticate(inbound, jwks, NOW)
        assert verified == (len(signed) > 0)
        name = self.provider.name
        self.read(Raw(name, callback.body, headers, "callback", verified, NOW, "callbacks/0/0"))

    def read(self, raw: Raw) -> None:
        facts = self.provider.read(raw)
        for event in facts.events:
            self.track(event)
        for payment in facts.payments:
            joined = join(self.payments.get(payment["payment_id"]), payment)
            self.payments[payment["payment_id"]] = joined.row
            for event in joined.events:
                self.track(event)

    def track(self, event: LinkEvent) -> None:
        tracked = track(self.row, event, self.rules)
        self.row = tracked.row
        if tracked.lookup is not None:
            self.look_up(tracked.lookup)
        for lookup in tracked.refund_lookups:
            self.look_up(lookup)

    def register(self, link_id: str = LINK) -> None:
        raw = Raw(self.provider.name, b"", {}, "registration", True, NOW, "links/0/0")
        self.track(link_event(raw, link_id, "CREATED", "registered"))

    def poll(self) -> LinkStatus:
        """Look the link up and return its row."""
        assert self.row is not None
        self.look_up(lookup_request(self.row, "POLL", NOW))
        return self.row

    def look_up(self, request: LookupRequest) -> None:
        lookup = self.provider.lookup(request, NOW)
        try:
            api_request = next(lookup)
            while True:
                self.lookups += 1
                api_request = lookup.send(self.simulated.respond(api_request))
        except StopIteration as stop:
            answer = stop.value
        self.read(
            Raw(
                *(self.provider.name, answer.body, {}, "lookup", True, NOW, "callbacks/0/1"),
                link_id=request["link_id"],
                claimed_status=request["claimed_status"],
                lookup_status=str(answer.status),
                refund=request["refund"],
            )
        )


def pipeline(name: str, *steps: str, created: bool = True) -> Pipeline:
    """Return a pipeline whose simulated link has taken these steps."""
    simulated = Simulated(name)
    settings = load(**{name: simulated.settings()})
    provider = settings.existing_providers()[name]
    if created:
        simulated.create(*steps, link_id=LINK)
    return Pipeline(simulated, provider, rules(settings, {name: provider})[name])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "outcome"), ALL)
def test_lifecycle_ends_as_expected(name: str, outcome: str, seed: int) -> None:
    lifecycle = simulator_of(name).LIFECYCLES[outcome]
    stages = pipeline(name, *lifecycle.steps)
    callbacks = stages.simulated.callbacks()
    if not lifecycle.has_callbacks:
        assert not callbacks
        stages.register()
    for callback in Random(seed).sample(callbacks * 2, 2 * len(callbacks)):
        stages.receive(callback)
    if not lifecycle.has_callbacks:
        stages.poll()
    row = stages.row
    assert row is not None
    assert row["status"] in lifecycle.status
    assert (row["coverage"], row["anomalies"]) == (lifecycle.coverage, list(lifecycle.anomalies))
    refunded = lifecycle.refunded_minor(12345)
    assert row["refunded_minor"] == refunded
    assert row["disputed_minor"] == lifecycle.disputed_minor(12345)
    if row["status"] == "PAID":
        assert (row["amount_minor"], row["currency"]) == (12345, stages.sandbox.CURRENCY)
        assert row["net_minor"] == (row["received_minor"] or 12345) - refunded
    if name == "ping":
        assert (row["order_id"], row["order_from"]) == ("order-1", "LOOKUP")


@pytest.mark.parametrize("step", ["FAILED", "CANCELLED", "UNDERPAID", "COMPLETED"])
def test_ipint_is_not_queried_after_an_end_whatever_callbacks_claim(step: str) -> None:
    stages = pipeline("ipint", step)
    stages.register()
    status = stages.poll()["status"]
    assert stages.lookups == 1
    for claim in ("FAILED", "COMPLETED", "FAILED"):
        stages.receive(json_callback({"invoice_id": LINK, "status": claim}))
    assert stages.row is not None
    assert (stages.row["status"], stages.lookups) == (status, 1)


@pytest.mark.parametrize("name", PROVIDERS)
def test_example_link_can_be_looked_up(name: str) -> None:
    stages = pipeline(name, created=False)
    stages.sandbox.set_example("", NOW)
    bodies = [examples.body(name, example) for example in examples.names(name)]
    assert any(stages.sandbox.EXAMPLE_LINK.encode() in body for body in bodies)
    stages.register(stages.sandbox.EXAMPLE_LINK)
    row = stages.poll()
    assert (row["status"], row["anomalies"]) == ("PAID", [])

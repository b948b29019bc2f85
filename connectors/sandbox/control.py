"""The control API under /control: what payers, the dashboard and outages do to the providers."""

import time
from random import SystemRandom
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from connectors.http.api import InvalidField, create_api
from connectors.providers.payout_sandbox import as_csv
from connectors.providers.simulator import Doc, NewLink
from connectors.sandbox.payouts import PaidOrder
from connectors.sandbox.scenario import build_scenario
from connectors.sandbox.simulation import Simulation


class ExampleForm(BaseModel):
    provider: str
    name: str


class LinkForm(BaseModel):
    provider: str
    link_id: str | None = None
    amount_minor: int = Field(default=10_000, gt=0)
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    order_id: str | None = None


class StepsForm(BaseModel):
    steps: list[str]


class ScenarioForm(BaseModel):
    links: int = Field(default=24, ge=1, le=10_000)
    seed: int = 1
    run: str = Field(default="", max_length=100)
    spread_seconds: float = Field(default=4.0, ge=0, le=3600)
    hold: bool = False


class OrderForm(BaseModel):
    provider: str
    order_id: str
    links: list[str]


class PayoutsForm(BaseModel):
    orders: list[OrderForm]


class FaultForm(BaseModel):
    provider: str
    seconds: float = Field(ge=0, le=86_400)


def control_api(simulation: Simulation) -> FastAPI:
    """Return the control API of these simulated providers."""
    api = create_api(router)
    api.state.simulation = simulation
    return api


def _simulation(request: Request) -> Simulation:
    simulation: Simulation = request.app.state.simulation
    return simulation


TheSimulation = Annotated[Simulation, Depends(_simulation)]
router = APIRouter()


def _known(simulation: Simulation, name: str) -> str:
    """Return the name of a simulated account. Raises InvalidField."""
    if name not in simulation.connections:
        raise InvalidField("provider", f"is not one of {', '.join(simulation.connections)}")
    return name


@router.post("/example", status_code=204)
async def set_example(simulation: TheSimulation, form: ExampleForm) -> None:
    """Give the example link the status in an example, without callbacks."""
    simulation.set_example(_known(simulation, form.provider), form.name)


@router.post("/links", status_code=201)
async def create(simulation: TheSimulation, form: LinkForm) -> dict[str, str]:
    simulator = simulation.simulators[_known(simulation, form.provider)]
    link_id = form.link_id or simulator.new_id(SystemRandom())
    currency = form.currency or simulator.CURRENCY
    link = NewLink(link_id, form.amount_minor, currency, form.order_id)
    simulation.create(form.provider, link)
    return {"provider": form.provider, "link_id": link_id}


@router.post("/links/{provider}/{link_id}", status_code=204)
async def advance(simulation: TheSimulation, provider: str, link_id: str, form: StepsForm) -> None:
    """Move a link by steps that the provider knows. Callbacks follow."""
    try:
        simulation.advance(provider, link_id, form.steps)
    except KeyError as error:
        message = f"there is no such provider, link or step: {error.args[0]}"
        raise HTTPException(404, message) from None


@router.post("/scenarios", status_code=201)
async def start_scenario(simulation: TheSimulation, form: ScenarioForm) -> dict[str, Any]:
    """Start a scenario. The response contains the expected result."""
    scenario = build_scenario(
        form.links, form.seed, form.run, form.spread_seconds, simulation.connections
    )
    simulation.start(scenario, form.run, form.hold)
    return {
        "external": simulation.external,
        "registrations": [link.registration for link in scenario.links if link.registration],
        "links": scenario.expected_links,
        "orders": scenario.expected_orders,
    }


@router.post("/scenarios/{run}/release")
async def release(simulation: TheSimulation, run: str) -> dict[str, int]:
    """Deliver the callbacks of a held scenario."""
    return {"released": simulation.release(run)}


@router.post("/payouts", status_code=201)
async def pay_out(simulation: TheSimulation, form: PayoutsForm) -> dict[str, Any]:
    """Pay out orders whose links are paid, with fees and with mistakes. The response contains what
    a reconciliation must find out about each.
    """
    orders = [
        PaidOrder(_known(simulation, o.provider), o.order_id, tuple(o.links)) for o in form.orders
    ]
    try:
        return {"orders": [e._asdict() for e in simulation.pay_out(orders)]}
    except KeyError as error:
        raise HTTPException(404, f"there is no such link: {error.args[0]}") from None


@router.get("/{provider}/payouts.csv", response_class=PlainTextResponse)
async def payouts(simulation: TheSimulation, provider: str) -> PlainTextResponse:
    """Return all payouts of a provider as a file."""
    if provider not in simulation.simulators:
        raise HTTPException(404, f"there is no provider {provider}")
    return PlainTextResponse(as_csv(simulation.store.of(provider)), media_type="text/csv")


@router.get("/deliveries")
async def deliveries(simulation: TheSimulation, run: str | None = None) -> dict[str, int]:
    """Return the number of deliveries by state; `run` selects one scenario."""
    return simulation.store.counts(run)


@router.get("/{provider}/log")
@router.get("/{provider}/orders/{order_id}/log")
async def log(simulation: TheSimulation, provider: str, order_id: str | None = None) -> list[Doc]:
    """Return the operations on the provider's orders, successful or not, oldest first."""
    entries = simulation.store.of(provider).all("log")
    return [entry for entry in entries if order_id in (None, entry["order_id"])]


@router.post("/delay", status_code=204)
async def delay(simulation: TheSimulation, form: FaultForm) -> None:
    """Delay all responses of the provider's API by this time."""
    simulation.faults[_known(simulation, form.provider)].delay_seconds = form.seconds


@router.post("/down", status_code=204)
async def down(simulation: TheSimulation, form: FaultForm) -> None:
    """Answer 503 from the provider's API for this time."""
    simulation.faults[_known(simulation, form.provider)].down_until = (
        time.monotonic() + form.seconds
    )

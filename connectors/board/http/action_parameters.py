"""The parameters of the board's actions, for programs and pages alike."""

from abc import abstractmethod
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request

from connectors.board.http.parameters import (
    AnomalyFilter,
    DeadLetterFilter,
    Parameters,
    PlaceText,
    cut,
)
from connectors.triage.dead_letter import parse_place
from connectors.triage.filter import Filter

_LONGEST_NAME = 100
_LONGEST_NOTE = 500


class Actor(Parameters):
    """Who acts."""

    by: Annotated[str, cut(_LONGEST_NAME), Field(description="Your name, for the audit trail.")] = (
        ""
    )

    def who(self, request: Request) -> str:
        """The name that the person gave, and how and from where the request came."""
        way = "through the API" if "authorization" in request.headers else "on the page"
        client = request.client.host if request.client else "an unknown address"
        return f"{self.by.strip() or 'someone'} {way}, from {client}"


class Marker(Actor):
    """Who marks, and why."""

    note: Annotated[str, cut(_LONGEST_NOTE)] = ""

    @abstractmethod
    def filter(self) -> Any:
        """What to mark, for the queries of its kind."""


class ResolveAnomalies(AnomalyFilter, Marker):
    """Without a filter, all open anomalies."""


class ReopenAnomaly(Marker):
    event_id: str

    def filter(self) -> dict[str, Any]:
        """The filters of `database.anomalies`."""
        return {"event_id": self.event_id}


class ResolveDeadLetters(DeadLetterFilter, Marker):
    """Without a filter, all open dead letters."""


class ReopenDeadLetter(Marker):
    place: PlaceText

    def filter(self) -> Filter:
        """The filter of this dead letter."""
        return Filter(places=[parse_place(self.place)])


class ReplayDeadLetters(DeadLetterFilter, Actor):
    """Without a filter, all open dead letters."""

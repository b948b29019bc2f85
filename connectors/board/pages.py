"""Rendering: templates, what they may call, and whether a page or data is asked for."""

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from connectors.board import words
from connectors.board.advice import ANOMALIES
from connectors.board.lapse import lapse
from connectors.board.present import rfc3339

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
# On narrow screens a row is laid out as a block. Some browsers then tell screen readers of no
# table, unless each part says what it is. What comes from outside is escaped and has no tags.
_PART = re.compile(r'<(?:table|thead|tbody|tr|td|th scope="(?:col|row)")(?=[ >])')
_ROLES = {
    "<table": "table",
    "<thead": "rowgroup",
    "<tbody": "rowgroup",
    "<tr": "row",
    "<td": "cell",
    '<th scope="col"': "columnheader",
    '<th scope="row"': "rowheader",
}


def wants_page(request: Request) -> bool:
    """Whether this is a browser that shows the answer to a person; programs get JSON."""
    return "text/html" in request.headers.get("accept", "")


def here(request: Request) -> str:
    """The address that was asked for, to come back to."""
    path, query = quote(request.scope["path"]), request.url.query
    return f"{path}?{query}" if query else path


class Pages:
    """The templates."""

    def __init__(self) -> None:
        self._environment = _environment()

    def render(self, template: str, **content: Any) -> str:
        text = self._environment.get_template(template).render(content)
        return _PART.sub(lambda part: f'{part[0]} role="{_ROLES[part[0]]}"', text)

    def answer(
        self, request: Request, template: str, status: HTTPStatus, **content: Any
    ) -> Response:
        """A page of its own, without what only those who may read see."""
        text = self.render(template, path=request.url.path, **content)
        return HTMLResponse(text, status, {"Vary": "Accept"})


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        age=words.age,
        rfc3339=rfc3339,
        utc=lambda micros: f"{(rfc3339(micros) or words.NONE)[:19].replace('T', ' ')} UTC",
        text=lambda data: data.decode(errors="replace"),
        segment=lambda text: quote(text, safe=""),
    )
    environment.globals.update(
        money=words.money,
        asked_of=words.asked,
        took=words.took,
        many=words.many,
        lapse=lapse,
        advice=lambda kind: ANOMALIES.get(kind, ANOMALIES["UNKNOWN"]),
    )
    return environment

"""Renders the templates."""

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from connectors.board.database.figures import stage
from connectors.board.http import text
from connectors.board.overview.order_progress import durations
from connectors.board.overview.problems import ANOMALIES
from connectors.serialize import rfc3339

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
# Narrow screens lay a row out as a block. Some browsers then hide the table from screen readers,
# unless each part has its role. Text from outside is escaped and contains no tags.
_CODE = re.compile(r"`([^`]+)`")
_TABLE_PART = re.compile(r'<(?:table|thead|tbody|tr|td|th scope="(?:col|row)")(?=[ >])')
_ROLES = {
    "<table": "table",
    "<thead": "rowgroup",
    "<tbody": "rowgroup",
    "<tr": "row",
    "<td": "cell",
    '<th scope="col"': "columnheader",
    '<th scope="row"': "rowheader",
}


class Renderer:
    """The templates and the functions that they call."""

    def __init__(self) -> None:
        self._environment = _environment()

    def render(self, template: str, **content: Any) -> str:
        page = self._environment.get_template(template).render(content)
        return _TABLE_PART.sub(lambda part: f'{part[0]} role="{_ROLES[part[0]]}"', page)

    def page(self, request: Request, template: str, status: HTTPStatus, **content: Any) -> Response:
        """Return a page without navigation, for people who may not read the board, too."""
        return HTMLResponse(self.render(template, path=request.url.path, **content), status)


def _with_code(words: str) -> Markup:
    """Return a text with its commands, between backticks, as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(words))))  # noqa: S704 - escaped


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        age=text.age,
        rfc3339=rfc3339,
        utc=lambda micros: f"{(rfc3339(micros) or text.NONE)[:19].replace('T', ' ')} UTC",
        text=lambda data: data.decode(errors="replace"),
        segment=lambda part: quote(part, safe=""),
        code=_with_code,
    )
    environment.globals.update(
        money=text.money,
        amount=text.amount,
        link_amount=text.link_amount,
        duration=text.duration,
        plural=text.plural,
        durations=durations,
        stage=stage,
        anomaly_advice=lambda kind: ANOMALIES.get(kind, ANOMALIES["UNKNOWN"]),
    )
    return environment

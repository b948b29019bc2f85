"""What a request asks for: filters, a limit and where to go on, for programs and pages alike."""

import base64
import json
from collections.abc import Collection, Iterable, Mapping
from typing import get_args

from sqlalchemy import Table
from starlette.requests import Request

from connectors.board import queries
from connectors.letters.letter import Wanted
from connectors.letters.meant import NotUnderstood, meant
from connectors.letters.moment import BadMoment, moment
from schemas.records import AnomalyKind, OrderState, Status

STATUSES: tuple[str, ...] = get_args(Status)
STATES: tuple[str, ...] = get_args(OrderState)
KINDS: tuple[str, ...] = get_args(AnomalyKind)
# What still waits for somebody, or what does not, too.
SHOWN = ("open", "all")
LETTERS_SHOWN = ("open", "aside", "all")
# What narrows dead letters.
LETTER_WORDS = ("provider", "link", "reason", "stage", "since", "until", "place")
_DEFAULT_LIMIT = 50
_LONGEST = 200


class BadParameter(ValueError):
    """A query parameter is wrong; `name` says which, the message why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name


def one_of(request: Request, words: Mapping[str, Collection[str] | None]) -> dict[str, str]:
    """The parameters that are given, each one of its words (None: any). Raises BadParameter."""
    # An empty value is an empty field of a form: no filter.
    given = {name: v for name in words if (v := request.query_params.get(name))}
    for name, value in given.items():
        known = words[name]
        if known is not None and value not in known:
            raise BadParameter(name, f"is not one of {', '.join(known)}")
    return given


def only(request: Request, known: Collection[str]) -> None:
    """Refuses a parameter that nobody knows: a misspelt filter would show too much."""
    only_of(request.query_params, known)


def only_of(given: Iterable[str], known: Collection[str]) -> None:
    """Refuses a word that nobody knows: a misspelt one would mean everything. Raises
    BadParameter.
    """
    for name in given:
        if name not in known:
            raise BadParameter(name, f"no such parameter; there are {', '.join(sorted(known))}")


def wanted(given: Mapping[str, str], now: int) -> Wanted:
    """Which dead letters are meant. Raises BadParameter."""
    if given.get("link") and not given.get("provider"):
        raise BadParameter("link", "is one of a provider: name that, too")
    said = {**given, "reason": given.get("reason", "")[:_LONGEST]}
    places = [text] if (text := given.get("place")) else []
    try:
        return meant(said, places, now)
    except NotUnderstood as error:
        raise BadParameter(error.name, str(error)) from None


def at(given: Mapping[str, str], name: str, now: int) -> int | None:
    """The moment that is given by that name. Raises BadParameter."""
    try:
        return moment(text, now) if (text := given.get(name)) else None
    except BadMoment as error:
        raise BadParameter(name, str(error)) from None


def place_in(text: str) -> int | None:
    """A place in a list; None for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def limit(request: Request, most: int) -> int:
    """`limit`, else 50. Raises BadParameter."""
    text = request.query_params.get("limit") or str(min(_DEFAULT_LIMIT, most))
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= most):
        raise BadParameter("limit", f"is not a whole number from 1 to {most}")
    return int(text)


def cursor(position: queries.Cursor) -> str:
    """The position as `cursor` takes it."""
    packed = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def after(request: Request, table: Table) -> queries.Cursor | None:
    """Where to go on. Raises BadParameter."""
    text = request.query_params.get("cursor")
    if not text:
        return None
    expected = queries.cursor_types(table)
    try:
        position = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        fits = [type(part) for part in position] == list(expected)
    except (ValueError, TypeError):
        fits = False
    if not fits or any(isinstance(part, int) and abs(part) >= 2**63 for part in position):
        raise BadParameter("cursor", "is not one that an earlier answer gave as `next`")
    return tuple(position)

"""The position of a list as a parameter of its next page."""

import base64
import json

from pydantic_core import PydanticCustomError
from sqlalchemy import Table

from connectors.board.database.paging import Cursor, cursor_types


def format_cursor(position: Cursor | None) -> str | None:
    """The position as the parameter `cursor` takes it."""
    if position is None:
        return None
    packed = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def parse_cursor(text: str, table: Table) -> Cursor:
    """The position. Raises PydanticCustomError."""
    try:
        padded = text + "=" * (-len(text) % 4)
        position = json.loads(base64.b64decode(padded, b"-_", validate=True))
        fits = [type(part) for part in position] == list(cursor_types(table))
    except (ValueError, TypeError, RecursionError):
        fits = False
    if not fits or any(isinstance(part, int) and abs(part) >= 2**63 for part in position):
        raise PydanticCustomError("value", "is not the `next` of an earlier answer")
    return tuple(position)

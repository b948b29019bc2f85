"""What a page's form sends: a few short fields, and no more than that is read."""

import re
from urllib.parse import parse_qsl

from starlette.requests import Request

_MOST_BYTES = 8192
_MOST_FIELDS = 20


# To `//host` and `/\\host` browsers go elsewhere.
_OURS = re.compile(r"/(?![/\\])[^\x00-\x1f\\]{0,2000}")


class BadForm(ValueError):
    """This is none of our forms."""


async def fields(request: Request) -> dict[str, str]:
    """The form's fields. Raises BadForm."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise BadForm("the form is too long")
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise BadForm("the form is no text, or has too many fields") from None


def back(given: str | None, default: str = "/") -> str:
    """Where to go on: a page of ours, whatever is asked for."""
    return given if given and _OURS.fullmatch(given) else default

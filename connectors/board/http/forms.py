"""The fields of a page's form. The board reads only a few short ones."""

import re
from urllib.parse import parse_qsl

from starlette.requests import Request

from connectors.board.http.refusal import BadInput

_MOST_BYTES = 8192
_MOST_FIELDS = 20
# `//host` and `/\\host` lead browsers to another site.
_OURS = re.compile(r"/(?![/\\])[^\x00-\x1f\\]{0,2000}")


async def fields(request: Request) -> dict[str, str]:
    """Return the form's fields. Raises BadInput."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise BadInput("the form is too long")
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise BadInput("the form is not UTF-8, or has too many fields") from None


def back(target: str | None, default: str = "/") -> str:
    """Return `target` if it is a page of ours."""
    return target if target and _OURS.fullmatch(target) else default

"""Documents that machines read: OpenAPI of what is served, AsyncAPI of the topics.

Both are made from the code. `make documents` writes them here, and the tests hold the files, the
code and the answers on the wire to each other.
"""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from connectors.documents import asyncapi, openapi

FOLDER = Path(__file__).parent
Document = dict[str, Any]

DOCUMENTS: dict[str, Callable[[Collection[str]], Document]] = {
    "asyncapi": asyncapi.document,
    "openapi": openapi.document,
}


def text(name: str, providers: Collection[str]) -> str:
    """The document `name` of an installation with these providers, as it is kept in `FOLDER`."""
    return json.dumps(DOCUMENTS[name](providers), indent=1, ensure_ascii=False) + "\n"

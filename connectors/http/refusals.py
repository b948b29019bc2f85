"""The answers of the HTTP server to requests that break its limits."""

from dataclasses import dataclass
from http import HTTPStatus

from schemas import limits


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that breaks a limit, or that is not valid HTTP."""

    status: int
    limit: str
    text: str

    def response(self) -> bytes:
        text = f"{self.text}\n".encode()
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(text)}",
            "connection: close",
            *([f"retry-after: {limits.RETRY_AFTER_SECONDS}"] if self.status == 503 else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + text


class Refused(Exception):
    """Ends the parser."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.limit)
        self.refusal = refusal


MALFORMED = Refusal(400, "malformed", "the request is not valid HTTP; send version 1.1")
CUT = Refusal(400, "cut", "the request ended before all announced bytes came; send it again")
HEAD_BYTES = Refusal(
    431, "head_bytes", f"the headers are larger than {limits.HEAD_BYTES} bytes; send fewer"
)
HEADERS = Refusal(431, "headers", f"more than {limits.HEADERS} headers; send fewer")
FRAMING = Refusal(
    400, "framing_bytes", "too many bytes beside the body; send larger chunks, and no trailers"
)
REQUEST_BYTES = Refusal(
    413, "request_bytes", f"the body is larger than {limits.REQUEST_BYTES} bytes; send less"
)
PIPELINED = Refusal(
    400, "pipelined_requests", "too many requests before the first answer; wait for answers"
)
HEAD_SECONDS = Refusal(408, "head_seconds", "the headers came too slowly; send them again")
BODY_SECONDS = Refusal(408, "body_seconds", "the body came too slowly; send it again")
CONNECTIONS = Refusal(503, "connections", "too many connections; send it again later")
WRITE_SECONDS = Refusal(408, "write_seconds", "the client does not read its answer")

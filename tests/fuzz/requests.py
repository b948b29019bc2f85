"""Generated requests, byte by byte, and what each of them may be acknowledged for."""

import base64
import codecs
import gzip
import json
import re
import zlib
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes

import requests
from hypothesis import strategies as st

from connectors.clock import micros_now
from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Callback
from connectors.sandbox.config import SandboxConfig, simulator_of
from connectors.sandbox.delivery import signed_headers
from schemas import limits
from tests.connectors.providers import golden
from tests.fuzz.drawing import weighted
from tests.support.api_cases import SCHEMA
from tests.support.odd_callbacks import bodies

Headers = tuple[tuple[bytes, bytes], ...]
_CALLBACK = re.compile(rb"(?:http://[^/?]*)?/callbacks/(\w+)(?:/|$)")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `framing` names how its body is framed, and `size` is that of a chunk or cut.
    With `signed`, the simulated provider signs it before it is sent.
    """

    method: bytes = b"GET"
    target: bytes = b"/"
    headers: Headers = ()
    body: bytes = b""
    framing: str = "length"
    size: int = 1
    version: bytes = b"1.1"
    signed: bool = False

    @property
    def provider(self) -> str | None:
        """The provider whose callback URL this is."""
        path = unquote_to_bytes(re.split(rb"[?#]", self.target)[0])
        found = _CALLBACK.match(path)
        name = found[1].decode("latin-1") if found else None
        return name if name in PROVIDERS else None

    def header(self, name: bytes) -> bytes:
        """The values of a header as one list, as the edge keeps it."""
        values = [value.strip(b" \t") for each, value in self.headers if each.lower() == name]
        return b", ".join(values)

    def wire(self, *more: tuple[bytes, bytes]) -> tuple[bytes, bytes | None]:
        """The bytes to send, and the body that a server may acknowledge: none of a request that is
        not whole.
        """
        framing, payload, whole = _framed(self.framing, self.body, self.size)
        lines = [b"%s %s HTTP/%s" % (self.method, self.target, self.version)]
        lines += [b"%s: %s" % header for header in (*self.headers, *framing, *more)]
        return b"\r\n".join([*lines, b"", payload]), whole

    def with_signature(self, sandbox: SandboxConfig) -> "Request":
        """The callback as the simulated provider signs it."""
        provider = self.provider
        if not self.signed or provider is None:
            return self
        site = sandbox.site(provider)
        content_type = self.header(b"content-type").decode("latin-1")
        try:
            sent = Callback(self.body, content_type)
            signature = signed_headers(
                simulator_of(provider), site, sent, site.callback_url, micros_now()
            )
        except ValueError:  # the simulator signs only text
            return self
        names = {name.lower().encode() for name in signature}
        others = tuple(header for header in self.headers if header[0].lower() not in names)
        own = tuple((_latin(name), _latin(value)) for name, value in signature.items())
        return replace(self, headers=(*others, *own))


def _latin(text: str) -> bytes:
    return text.encode("latin-1")


def _chunks(body: bytes, size: int, extension: bytes = b"") -> bytes:
    # A chunk for each byte of a large body would measure this client.
    size = max(size, len(body) // 50, 1)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)


def _framed(kind: str, body: bytes, size: int) -> tuple[Headers, bytes, bytes | None]:
    """Return the headers that frame the body, the framed bytes, and what may be acknowledged."""
    length, cut = b"%d" % len(body), body[: size % (len(body) + 1)]
    chunked = (b"transfer-encoding", b"chunked")
    chunks = _chunks(body, size)
    ended = chunks + b"0\r\n\r\n"
    whole = {
        "length": (((b"content-length", length),), body),
        "chunked": ((chunked,), ended),
        "extensions": ((chunked,), _chunks(body, size, b";a=b") + b"000\r\n\r\n"),
        "trailers": ((chunked,), chunks + b"0\r\nx-signature: a\r\ncontent-length: 1\r\n\r\n"),
        "length twice": (((b"content-length", length),) * 2, body),
        "length of zeros": (((b"content-length", b"000" + length),), body),
    }
    broken = {
        "cut": (((b"content-length", b"%d" % (len(body) + 1)),), body),
        "cut chunks": ((chunked,), chunks),
        "cut in a chunk": ((chunked,), ended[: size % len(ended)]),
        "no length": ((), body),
        "two lengths": (((b"content-length", length), (b"content-length", b"1" + length)), body),
        "odd length": (((b"content-length", b"+" + length),), body),
        "length and chunks": (((b"content-length", length), chunked), ended),
        "coded": (((b"transfer-encoding", b"gzip, chunked"),), ended),
        "odd chunks": ((chunked,), b"0x5\r\n" + chunks),
    }
    if kind == "short":
        return ((b"content-length", b"%d" % len(cut)),), body, cut
    headers, payload = {**whole, **broken}[kind]
    return headers, payload, body if kind in whole else None


WHOLE = ("length", "chunked", "extensions", "trailers")
FRAMINGS = (
    *(*WHOLE, "length twice", "length of zeros", "short", "cut", "cut chunks", "cut in a chunk"),
    *("no length", "two lengths", "odd length", "length and chunks", "coded", "odd chunks"),
)

_GOLDEN = [case for case in golden.ALL if case.is_callback]
_METHODS = (
    *(b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"),
    *(b"PRI", b"M-SEARCH", b"PROPFIND", b"QUERY", b"get", b"POSTX", b"\xff", b""),
)
_PAGES = (
    *(b"/", b"/links", b"/orders", b"/anomalies", b"/notices", b"/dead-letters", b"/processes"),
    *(b"/metrics", b"/healthz", b"/readyz", b"/readyz/board", b"/docs", b"/openapi.json"),
    *(b"/registry/subjects", b"/links/ping/odd", b"/orders/ping/odd", b"/dead-letters/0/0"),
    *(b"/reconciliations", b"/reconciliations/ping/2025-11-01"),
    *(b"/callbacks/ping", b"/callbacks/other", b"/static/", b"/sign-in"),
)
_LOCAL: Headers = ((b"host", b"127.0.0.1"),)
_OFFERS: Headers = (
    (b"connection", b"Upgrade, HTTP2-Settings"),
    (b"upgrade", b"h2c"),
    (b"http2-settings", b"AAMAAABk"),
)
_VALUES = weighted(
    (3, st.sampled_from([b"application/json", b"text/html", b"gzip", b"*/*", b"identity", b"-1"])),
    (2, st.binary(max_size=40).map(lambda data: re.sub(rb"[\x00\r\n]", b"?", data))),
    (1, st.integers(0, limits.HEAD_BYTES + 10).map(lambda size: b"v" * size)),
)
_NAMES = st.sampled_from(
    [
        *(b"content-type", b"content-encoding", b"accept", b"accept-encoding", b"host", b"origin"),
        *(b"expect", b"traceparent", b"tracestate", b"baggage", b"authorization", b"cookie"),
        *(b"sec-fetch-site", b"x-forwarded-for", b"forwarded", b"range", b"if-none-match", b"te"),
        *(b"x-webhook-id", b"x-webhook-signature", b"tl-signature", b"x-ping-signature"),
        *(b"x-http-method-override", b"a b", b"", b"\xff", b"connection", b"upgrade"),
    ]
)
_NESTED = st.tuples(
    st.sampled_from([b"[", b'{"a":', b'[{"payment_link_id":']),
    st.sampled_from([1, 100, 500, 990, 1100, 2000, 5000]),
).map(lambda t: t[0] * t[1])
_CURSORS = (_NESTED | bodies("ping")).map(lambda text: base64.urlsafe_b64encode(text)[:7000])


@st.composite
def _callbacks(draw: st.DrawFn) -> Request:
    """Callbacks with golden and changed bodies, signed or with the golden signature."""
    case = draw(st.sampled_from(_GOLDEN))
    own = case.content["request"]["body"].encode()
    body = draw(weighted((2, st.just(own)), (5, bodies(case.provider)), (1, _NESTED)))
    headers = dict(case.content["request"]["headers"])
    named = tuple((_latin(n), _latin(v)) for n, v in headers.items() if n != "lookup-status")
    target = b"/callbacks/%s" % case.provider.encode()
    request = Request(b"POST", target, named, body, signed=draw(st.booleans()))
    return draw(_encoded(request))


@st.composite
def _encoded(draw: st.DrawFn, request: Request) -> Request:
    kind = draw(st.sampled_from([*[None] * 6, "gzip", "deflate", "mark", "utf-16", "bomb", "size"]))
    body = request.body
    match kind:
        case "mark":
            return replace(request, body=codecs.BOM_UTF8 + body)
        case "utf-16":
            return replace(request, body=body.decode("latin-1").encode("utf-16"))
        case "size":
            size = draw(st.sampled_from([limits.BODY_BYTES + n for n in (-1, 0, 1, 10_000)]))
            return replace(request, body=body.ljust(size)[:size])
        case "bomb":
            body = gzip.compress(
                bytes(draw(st.sampled_from([65_536, 65_537, 10_000_000]))), mtime=0
            )
        case "gzip":
            body = gzip.compress(body, mtime=0)[: draw(st.sampled_from([10, None, None, None]))]
        case "deflate":
            body = zlib.compress(body) + draw(st.sampled_from([b"", b"", b"more"]))
        case _:
            return request
    coding = b"deflate" if kind == "deflate" else b"gzip"
    return replace(request, body=body, headers=(*request.headers, (b"content-encoding", coding)))


def _of_case(case: Any) -> Request:
    """Return the request of a generated API case, as its client would send it."""
    prepared = requests.Request(**case.as_transport_kwargs(base_url="http://edge")).prepare()
    body: Any = prepared.body or b""
    headers = [(_latin(str(n)), _latin(str(v))) for n, v in prepared.headers.items()]
    # The length is that of our framing, and the other one is a random id.
    own = (b"content-length", b"x-schemathesis-testcaseid")
    kept = tuple(header for header in headers if header[0].lower() not in own)
    data = body.encode() if isinstance(body, str) else bytes(body)
    return Request(_latin(prepared.method or "GET"), _latin(prepared.path_url), kept, data)


def _api() -> st.SearchStrategy[Request]:
    operations = [
        result.ok().as_strategy()  # type: ignore[union-attr]
        for result in SCHEMA.get_all_operations()
    ]
    return st.one_of(operations).map(_of_case)


@st.composite
def _registrations(draw: st.DrawFn) -> Request:
    form: dict[str, Any] = {"provider": draw(st.sampled_from(sorted(PROVIDERS)))}
    form["link_id"] = draw(st.text(max_size=20) | st.just("odd"))
    form |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "order_id": st.text(max_size=5),
                "amount": st.decimals(allow_nan=False).map(str) | st.just("1.5"),
                "currency": st.sampled_from(["EUR", "eur", "JPY", "XXX", ""]),
                "expires_at": st.datetimes().map(lambda at: at.isoformat() + "Z"),
                "links_in_order": st.integers(-1, 600),
            },
        )
    )
    return Request(b"POST", b"/links", (), json.dumps(form).encode("utf-8", "surrogatepass"))


_LISTS = st.builds(
    lambda page, cursor, limit: Request(target=b"%s?cursor=%s&limit=%d" % (page, cursor, limit)),
    st.sampled_from(_PAGES[1:6]),
    _CURSORS,
    st.integers(-1, 600),
)
_ANYTHING = st.builds(
    Request,
    weighted((2, st.just(b"GET")), (1, st.sampled_from(_METHODS))),
    st.sampled_from(_PAGES),
    st.sampled_from([(), ((b"accept", b"text/html"),)]),
    st.binary(max_size=100),
)
_SEEDS = weighted(
    (8, _callbacks()), (4, _api()), (2, _registrations()), (2, _LISTS), (2, _ANYTHING)
)


@st.composite
def _changed(draw: st.DrawFn, request: Request) -> Request:
    """Return the request with a few changes, most with none of a kind."""
    rarely: st.SearchStrategy[bool] = st.integers(0, 9).map(lambda number: number == 9)
    headers: list[tuple[bytes, bytes]] = list(request.headers)
    for name, value in draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=2)):
        headers.insert(draw(st.integers(0, len(headers))), (name, value))
    if draw(rarely) and headers:
        name, _ = draw(st.sampled_from(headers))
        headers.append((name.upper(), draw(_VALUES)))
    if not draw(rarely):
        headers[:0] = _LOCAL
    if draw(rarely):
        headers = [*_OFFERS, *headers]
    if draw(rarely):
        number = draw(st.sampled_from([limits.HEADERS - 10, limits.HEADERS + 1, 2000]))
        headers += [(b"x-signature-%d" % n, b"") for n in range(number)]
    if draw(rarely):
        request = replace(request, target=draw(_targets(request.target)), signed=False)
    if draw(rarely):
        request = replace(request, method=draw(st.sampled_from(_METHODS)))
    if draw(rarely):
        request = replace(request, version=draw(st.sampled_from([b"1.0", b"2.0", b"1.9", b"x"])))
    framing = draw(weighted((6, st.sampled_from(WHOLE)), (2, st.sampled_from(FRAMINGS))))
    size = draw(st.integers(1, 300))
    return replace(request, headers=tuple(headers), framing=framing, size=size)


def _targets(target: bytes) -> st.SearchStrategy[bytes]:
    odd = st.binary(min_size=1, max_size=20).map(lambda data: re.sub(rb"[\x00-\x20]", b"%", data))
    return st.one_of(
        odd.map(lambda text: target + b"?" + text),
        odd.map(lambda text: target + b"/" + text),
        st.sampled_from(
            [
                *(b"/" + target, b"http://127.0.0.1" + target, target + b"/%2e%2e/", b"*", b""),
                *(target.replace(b"a", b"%61"), target + b"%00", target + b"%0a", target + b"#x"),
                *(target + b"/" + b"t" * 9000, b"/%ff", target + b"\xff", b"http://[", b"/\\.."),
            ]
        ),
    )


@dataclass(frozen=True, slots=True)
class Exchange:
    """The requests of one connection to a process, cut into packets at `splits`. Then the client
    waits for the answers, ends its side first, or aborts.
    """

    process: str
    requests: tuple[Request, ...]
    splits: tuple[int, ...]
    end: str


# Some inputs break what others do not: each round has them all (B6).
CURSOR = base64.urlsafe_b64encode(b"[" * 3000)
FIXED = tuple(
    Exchange("web", (Request(target=page + b"?cursor=" + CURSOR, headers=_LOCAL),), (), "answers")
    for page in _PAGES[1:6]
)


def exchanges() -> st.SearchStrategy[Exchange]:
    """Return connections with one request or a few pipelined ones, the last one perhaps broken."""
    plain = _SEEDS.map(lambda each: replace(each, headers=(*each.headers, *_LOCAL)))
    first = st.lists(plain, max_size=3).map(tuple)
    return st.builds(
        lambda process, first, last, splits, end: Exchange(
            process, (*first, last), tuple(sorted(splits)), end
        ),
        # The others serve only probes.
        st.sampled_from([*["web"] * 12, "work", "lookup", "settle"]),
        weighted((4, st.just(())), (1, first)),
        _SEEDS.flatmap(_changed),
        st.lists(st.integers(0, 3000), max_size=2),
        st.sampled_from([*["answers"] * 4, "end", "end", "abort"]),
    )

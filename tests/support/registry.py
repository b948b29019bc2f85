"""A Schema Registry for tests, over HTTP, as far as we use one."""

import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class FakeRegistry:
    """Numbers schemas from 1 on. `answer` replaces its own answers; `stop` makes it unreachable."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.schemas: list[str] = []
        self.subjects: dict[str, list[str]] = {}
        self.compatibility: dict[str, str] = {}
        self.authorizations: list[str | None] = []
        self.answer: tuple[int, str] | None = None
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply()

            def do_POST(self) -> None:
                self._reply()

            def do_PUT(self) -> None:
                self._reply()

            def _reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                registry.authorizations.append(self.headers["authorization"])
                status, text = registry.answer or registry._answer(self.path, body)
                self.send_response(status)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self._thread = Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        if self._thread.is_alive():
            self.server.shutdown()
            self._thread.join()
            self.server.server_close()

    def __enter__(self) -> "FakeRegistry":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _answer(self, path: str, body: bytes) -> tuple[int, str]:
        path = path.partition("?")[0].removeprefix("/base")
        kind, name, *rest = path.split("/")[1:]
        if kind == "schemas":
            number = int(rest[0])
            known = 0 < number <= len(self.schemas)
            return _found(known and {"schema": self.schemas[number - 1]})
        request = json.loads(body)
        if kind == "config":
            self.compatibility[name] = request["compatibility"]
            return _found(request)
        schema = request["schema"]
        if rest == ["versions"]:
            if schema not in self.schemas:
                self.schemas.append(schema)
            self.subjects.setdefault(name, []).append(schema)
        known = schema in self.subjects.get(name, [])
        return _found(known and {"id": 1 + self.schemas.index(schema)})


def _found(content: Any) -> tuple[int, str]:
    missing = {"error_code": 40403, "message": "not found"}
    return (200, json.dumps(content)) if content else (404, json.dumps(missing))

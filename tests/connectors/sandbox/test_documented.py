"""The simulated providers behave as documented: the cases in tests/golden/sandbox/{provider}.json.

A step of a case either does something:

- `link`: create `link-1` of `order-1` and move it by these steps; `advance`: move it further
- `examples`: give the example link these statuses in turn; "" is what a restart does
- `timer`: run the only timer, which is due after exactly so many seconds

or compares the result:

- `call`: method and path, with `body`, our credentials (or `headers` instead, or `more` headers)
  and `after` so many seconds; then `status` (by default 200) and `answer`
- `upload`: the answer's `status` to a file
- `callbacks`: the new ones with JSON; `url`: where they go
- `log`: the operations on orders, whether they are repeats, and their answers

Fields that a step does not name may have any value; null stands for an absent one, too. `$name`
stands for one value throughout the case: that of a secret, of `names`, or of its first place.
"""

import hashlib
import hmac
import json
from pathlib import Path
from string import Template
from typing import Any

import pytest

from connectors.providers.base import ApiRequest
from tests.connectors.sandbox.sandboxes import BASE_URL, NOW, SECOND, Simulated, json_bodies

FILES = sorted((Path(__file__).parents[2] / "golden" / "sandbox").glob("*.json"))
CONTENT = {file.stem: json.loads(file.read_text()) for file in FILES}
CASES = [(provider, name) for provider, file in CONTENT.items() for name in file["cases"]]


class Play:
    """One case, step by step."""

    def __init__(self, provider: str, names: dict[str, str]) -> None:
        self.simulated = Simulated(provider)
        sandbox, secrets = self.simulated.sandbox, self.simulated.site.secrets
        self.names = {**names, **secrets, "example": sandbox.EXAMPLE_LINK, "nonce": "0"}

    def step(self, step: dict[str, Any]) -> None:
        names = {name: json.dumps(str(value))[1:-1] for name, value in self.names.items()}
        step = json.loads(Template(json.dumps(step)).safe_substitute(names))
        sandbox = self.simulated.sandbox
        match step:
            case {"link": steps}:
                self.simulated.create(*steps)
            case {"advance": steps, **link}:
                for word in steps:
                    sandbox.advance(link.get("of", "link-1"), word, NOW)
            case {"examples": statuses}:
                for status in statuses:
                    sandbox.set_example(status, NOW)
            case {"timer": seconds}:
                self.simulated.run_timer(NOW + seconds * SECOND)
            case {"call": call, **rest}:
                self.call(call, rest)
            case {"upload": text, "to": url, "status": status}:
                path = url.removeprefix(f"{BASE_URL}/{sandbox.kind}")
                request = ApiRequest("PUT", path, {}, text.encode())
                assert sandbox.respond(request, NOW).status == status
            case {"callbacks": expected, **rest}:
                callbacks = self.simulated.callbacks()
                self.compare(expected, json_bodies(callbacks))
                assert {callback.url for callback in callbacks} <= {rest.get("url")}
            case {"log": expected}:
                log = self.simulated.store.of(sandbox.kind).all("log")
                operations = [[e["operation"], e["repeated"], e["answer"]] for e in log]
                assert operations == expected
            case _:
                pytest.fail(f"no such step: {step}")

    def call(self, call: str, rest: dict[str, Any]) -> None:
        method, _, path = call.partition(" ")
        credentials = self.credentials(path) | rest.get("more", {})
        headers = rest.get("headers", credentials)
        now = NOW + rest.get("after", 0) * SECOND
        response = self.simulated.call(method, path, rest.get("body"), headers, now)
        assert response.status == rest.get("status", 200), response
        if "answer" in rest:
            self.compare(rest["answer"], json.loads(response.body))

    def credentials(self, path: str) -> dict[str, str]:
        """Return the headers of a request that the provider accepts."""
        secrets = self.simulated.site.secrets
        if self.simulated.sandbox.kind in ("peach", "truelayer"):
            return {"authorization": f"Bearer {self.simulated.sandbox.issue_token(60, NOW)}"}
        if self.simulated.sandbox.kind == "ping":
            return {"tenant_id": secrets["tenant_id"], "x-api-secret": secrets["api_secret"]}
        nonce = self.names["nonce"] = str(int(self.names["nonce"]) + 1)
        return ipint_headers(secrets["api_key"], secrets["api_secret"], nonce, path)

    def compare(self, expected: Any, actual: Any) -> None:
        assert self.named(expected, actual) == expected

    def named(self, expected: Any, actual: Any) -> Any:
        """Return what `actual` has of the fields in `expected`, and give new names their values."""
        if isinstance(expected, dict) and isinstance(actual, dict):
            return {name: self.named(expected[name], actual.get(name)) for name in expected}
        if isinstance(expected, list) and isinstance(actual, list):
            return [*map(self.named, expected, actual), *actual[len(expected) :]]
        if isinstance(expected, str) and expected.startswith("$") and actual is not None:
            name = expected[1:]
            assert self.names.get(name, actual) == actual
            if name not in self.names:
                assert actual not in self.names.values(), "another name has this value"
            self.names[name] = actual
            return expected
        return actual


def ipint_headers(key: str, secret: str, nonce: str, path: str) -> dict[str, str]:
    text = f"/api/{nonce}{path}".encode()
    signature = hmac.new(secret.encode(), text, hashlib.sha384).hexdigest()
    return {"apikey": key, "nonce": nonce, "signature": signature}


@pytest.mark.parametrize(("provider", "name"), CASES)
def test_simulated_provider_behaves_as_documented(provider: str, name: str) -> None:
    content = CONTENT[provider]
    play = Play(provider, content["names"])
    for step in content["cases"][name]:
        play.step(step)


@pytest.mark.parametrize("provider", CONTENT)
def test_unknown_link_or_step_raises_key_error(provider: str) -> None:
    simulated = Simulated(provider)
    simulated.create()
    (step, *_) = next(c.steps for c in simulated.sandbox.LIFECYCLES.values() if c.steps)
    for link_id, word in (("link-1", "no such step"), ("link-2", step)):
        with pytest.raises(KeyError):
            simulated.sandbox.advance(link_id, word, NOW)

"""The senders of callbacks and registrations: each one is sent until the edge answers."""

import json
from collections.abc import Callable, Mapping
from random import Random
from urllib.parse import urlsplit

from connectors.providers.simulator import Callback
from connectors.sandbox.config import simulator_of
from connectors.sandbox.delivery import signed_headers
from tests.chaos.ledger import Ledger, Sent
from tests.chaos.sandbox import Doc
from tests.chaos.traffic import Sending
from tests.simulation.providers import Providers
from tests.simulation.scheduler import Scheduler
from tests.simulation.services import Services

# A provider or merchant without an answer sends again.
_PATIENCE_SECONDS = 2.0
_NETWORK_SECONDS = 0.02
_ANSWER_LOST = 0.03
# Takes the status of an answer, and returns whether the sender is content with it.
Judge = Callable[[int], bool]
# Makes one attempt: the path, the headers, the body, and what judges its answer.
Attempt = Callable[[], tuple[str, Mapping[str, str], bytes, Judge]]


class Senders:
    """`ledger` is what they know; `now` returns the simulated time in microseconds."""

    def __init__(
        self,
        scheduler: Scheduler,
        services: Services,
        providers: Providers,
        random: Random,
        now: Callable[[], int],
    ) -> None:
        self.ledger = Ledger()
        self._scheduler, self._services, self._providers = scheduler, services, providers
        self._random, self._now = random, now
        # How many have no answer yet.
        self.waiting = 0

    def _until_answered(self, attempt: Attempt) -> None:
        random, answered = self._random, False
        self.waiting += 1

        def again() -> None:
            if not answered:
                self._post(*attempt(), answer)
                self._scheduler.later(_PATIENCE_SECONDS * (1 + random.random()), again)

        def answer() -> None:
            nonlocal answered
            if not answered and random.random() >= _ANSWER_LOST:
                answered = True
                self.waiting -= 1

        again()

    def _post(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        judge: Judge,
        answer: Callable[[], None],
    ) -> None:
        """Send a request to the edge, if it runs. What it answers counts, even if that is lost."""
        edge, process = self._services.edge, self._services.process("edge")

        def respond(status: int) -> None:
            if judge(status):
                answer()

        if edge is not None:
            seconds = _NETWORK_SECONDS * self._random.random()
            process.later(seconds, lambda: edge.post(path, headers, body, respond))

    def _trace(self) -> tuple[str, str]:
        trace = f"{self._random.getrandbits(128):032x}"
        return trace, f"00-{trace}-{self._random.getrandbits(64):016x}-01"

    def register(self, registration: Doc) -> None:
        link, body = (
            (registration["provider"], registration["link_id"]),
            json.dumps(registration).encode(),
        )

        def attempt() -> tuple[str, Mapping[str, str], bytes, Judge]:
            trace, header = self._trace()

            def judge(status: int) -> bool:
                if status == 202:
                    self.ledger.registered[trace] = link
                elif status < 500:
                    self.ledger.wrong_answers.append(f"registration: {status}")
                return status < 500

            headers = {"content-type": "application/json", "traceparent": header}
            return "/links", headers, body, judge

        self._until_answered(attempt)

    def take(self, sending: Sending) -> None:
        """Send a callback. A forged one has the signature of another body."""
        name, callback = sending.provider, sending.callback
        site, sandbox = self._providers.simulated[name].site, simulator_of(name)
        signed = callback if sending.kind != "forged" else Callback(callback.body + b" ")

        def attempt() -> tuple[str, Mapping[str, str], bytes, Judge]:
            trace, header = self._trace()
            headers = signed_headers(sandbox, site, signed, site.callback_url, self._now())
            headers.update({**sending.headers, "traceparent": header})

            def judge(status: int) -> bool:
                sent = Sent(name, callback.body)
                return self.ledger.record(trace, sent, status, sending.kind)

            return urlsplit(site.callback_url).path, headers, callback.body, judge

        self._until_answered(attempt)

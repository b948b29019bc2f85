"""Tracing in one process; tests/e2e/test_pipeline.py follows a trace through all of them."""

import gc
import sys
import warnings
from pathlib import Path

import pytest

from connectors import tracing
from streams import wiring
from streams.environment import BadSettings
from streams.settings import load
from tests.support.processes import run

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_trace_of_the_sender_continues() -> None:
    """In a process of its own: a tracer provider cannot be removed."""
    code = f"""
import os
from connectors import tracing
end = tracing.start("test", "http://127.0.0.1:9", 0.0)
sent = [(b"traceparent", b"{SENT}"), (b"x", b"y")]
with tracing.request_span("/callbacks/ping", sent) as (span, headers):
    print(span.get_span_context().trace_id.to_bytes(16, "big").hex())
    print(dict(headers)[b"traceparent"].decode(), dict(headers)[b"x"])
with tracing.request_span("/callbacks/ping", []) as (span, headers):
    print(dict(headers)[b"traceparent"].decode()[-2:], flush=True)
os._exit(0)  # without the attempts to send the spans
"""
    trace, header, own = run(sys.executable, "-c", code).stdout.splitlines()
    assert trace == TRACE
    assert header.startswith(f"00-{TRACE}-")
    # Ours, not the sender's, and sampled as the sender says; the ratio is for traces that begin.
    assert SENT[36:52] not in header
    assert header.endswith("-01 b'y'")
    assert int(own, 16) & 1 == 0


def test_tracing_is_off_by_default() -> None:
    wiring.start_tracing(load(), "work")()
    assert not tracing.enabled()


def test_process_without_the_packages_does_not_start_and_names_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    settings = load(tracing={"endpoint": "http://127.0.0.1:9"}, data_dir=tmp_path)
    gc.collect()  # warnings about objects of other tests come now
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(BadSettings, match=r"linkstatus\[tracing\]"):
            wiring.run_sandbox(settings)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []

"""The receivers on the page about webhooks verify what we send."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from connectors.clock import micros_now
from connectors.notify.endpoint import SCHEMAS
from connectors.notify.message import event_of, headers
from streams import settings, testing
from tests.support.documents import PAGES, blocks
from tests.support.processes import run

PAGE = PAGES["docs/notify.md"]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[bytes, dict[str, str]]:
    """A close, signed with the secret of the page's settings."""
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("dotenv", PAGE)
    Path(".env").write_text(block)
    endpoint = settings.load().notify.endpoints["billing"].endpoint("billing")
    event = event_of(SCHEMAS["order-close"], testing.order_close("O1"))
    return event.body, headers(event, endpoint.secrets, micros_now())


def test_receiver_in_python_acts_once(
    sent: tuple[bytes, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python", PAGE)
    names: dict[str, Any] = {}
    exec(code, names)
    for _ in range(2):
        names["receive"](*sent)
    assert capsys.readouterr().out == "linkstatus.OrderClose O1\n"
    with pytest.raises(Exception, match="signature"):
        names["receive"](sent[0] + b" ", sent[1])


def test_receiver_in_node_verifies(sent: tuple[bytes, dict[str, str]], tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not here")
    (code,) = blocks("js", PAGE)
    (tmp_path / "verify.mjs").write_text(code)
    body = sent[0].decode()
    late = sent[1] | {"webhook-timestamp": "1767268801"}
    both = sent[1] | {"webhook-signature": f"v1,AAAA {sent[1]['webhook-signature']}"}
    cases = [(body, sent[1]), (body, both), (body + " ", sent[1]), (body, late)]
    (tmp_path / "main.mjs").write_text(
        'import { verify } from "./verify.mjs";\n'
        f"for (const [body, headers] of {json.dumps(cases)})\n"
        "  try { console.log(verify(body, headers).data.order_id) }\n"
        "  catch (error) { console.log(error.message) }\n"
    )
    printed = run(node, "main.mjs", cwd=tmp_path).stdout.splitlines()
    assert printed == ["O1", "O1", "wrong signature", "too old, or too new"]

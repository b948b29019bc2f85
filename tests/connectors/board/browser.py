"""A real Chromium, driven over the DevTools protocol: JSON on one websocket.

A browser driver would be a download a hundred times the size of this file and `websockets`.
"""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.support.waiting import PATIENCE

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_KEYS = {"Enter": ("\r", 13), "Escape": ("", 27), "Tab": ("\t", 9)}


def chromium() -> str | None:
    """Return the path of the program, if this machine has one."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


# The centre of an element that is loaded, laid out and not covered by another one, else null.
_CENTRE = """(() => {
  const e = document.querySelector(%s);
  if (!e || document.readyState !== 'complete') return null;
  e.scrollIntoView({block: 'center'});
  const box = e.getClientRects()[0];
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const hit = document.elementFromPoint(x, y);
  return hit && (e.contains(hit) || hit.contains(e)) ? [x, y] : null;
})()"""


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        # Failed scripts, violated policies and other errors that the page logs.
        self.errors: list[str] = []
        self.requested: list[str] = []

    async def listen(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                answer = self._answers.pop(message["id"])
                if "error" in message:
                    answer.set_exception(RuntimeError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
            elif message["method"] == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            elif message["method"] == "Runtime.exceptionThrown":
                self.errors.append(message["params"]["exceptionDetails"]["text"])
            elif message["method"] == "Log.entryAdded":
                entry = message["params"]["entry"]
                # A browser requests an icon for every answer, but only our pages name one.
                url = entry.get("url", "")
                if entry["level"] in ("warning", "error") and not url.endswith("/favicon.ico"):
                    self.errors.append(entry["text"])

    async def send(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return await asyncio.wait_for(answer, PATIENCE)

    async def value(self, script: str) -> Any:
        """Run the script and return its value, as JSON has it."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, (script, answer)
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until the script returns a true value, also across navigations."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            # During a navigation no script can run.
            with contextlib.suppress(RuntimeError, AssertionError):
                if value := await self.value(script):
                    return value
            if asyncio.get_running_loop().time() > deadline:
                text = await self.value("document.body.innerText")
                raise AssertionError(f"waited for {script}, on the page:\n{text}")
            await asyncio.sleep(0.02)

    async def shows(self, text: str) -> None:
        """Wait until the page shows the text and its scripts run."""
        shown = f"document.body.innerText.includes({json.dumps(text)})"
        await self.until(f"document.readyState === 'complete' && {shown}")

    async def text(self) -> str:
        text: str = await self.value("document.body.innerText")
        return text

    async def go(self, url: str) -> None:
        await self.send("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def click(self, selector: str) -> None:
        """Click with the mouse in the centre of the first such element."""
        x, y = await self.until(_CENTRE % json.dumps(selector))
        for kind in ("mousePressed", "mouseReleased"):
            await self.send(
                "Input.dispatchMouseEvent",
                **{"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1},
            )

    async def write(self, text: str) -> None:
        """Type the text into the focused element."""
        await self.send("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        text, code = _KEYS.get(key, (key, ord(key.upper()) if len(key) == 1 else 0))
        event = {"key": key, "text": text, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **event)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def set_screen(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window and the colour scheme that its user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])


@asynccontextmanager
async def browsing() -> AsyncIterator[Page]:
    """Start a Chromium with an empty profile."""
    program = chromium()
    assert program
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                *(program, "--headless=new", "--remote-debugging-port=0", "--no-first-run"),
                # Containers have no rights for a sandbox and little shared memory.
                *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
                *(f"--user-data-dir={profile}", "about:blank"),
            ],
            env={**os.environ, "HOME": profile},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with connect(await _address(Path(profile)), max_size=None) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                try:
                    for domain in ("Page", "Runtime", "Log", "Network"):
                        await page.send(f"{domain}.enable")
                    await page.set_screen()
                    yield page
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        finally:
            process.terminate()
            process.wait(PATIENCE)


async def _address(profile: Path) -> str:
    """Return the address of the first tab. Chromium writes its port once it is up."""
    port_file = profile / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE):
        while not (port_file.exists() and "\n" in port_file.read_text()):
            await asyncio.sleep(0.05)
        port = port_file.read_text().splitlines()[0]
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                tabs = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
                for tab in tabs:
                    if tab["type"] == "page":
                        address: str = tab["webSocketDebuggerUrl"]
                        return address
                await asyncio.sleep(0.05)

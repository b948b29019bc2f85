"""A real Chromium, told what to do over the DevTools protocol: JSON on one websocket.

A driver of its own would be a download a hundred times the size of this and `websockets`.
"""

import asyncio
import base64
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

from websockets.asyncio.client import ClientConnection, connect

from tests.waiting import PATIENCE

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_KEYS = {"Enter": ("\r", 13), "Escape": ("", 27), "Tab": ("\t", 9)}


def chromium() -> str | None:
    """The program, if this machine has one."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


# The middle of an element that is loaded and laid out and lies under the mouse there, else null.
_WHERE = """(() => {
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
        # What the page complained of: scripts that failed, policies it broke.
        self.complaints: list[str] = []
        self.requested: list[str] = []

    async def listen(self) -> None:
        async for text in self._socket:
            told = json.loads(text)
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if "error" in told:
                    answer.set_exception(RuntimeError(told["error"]["message"]))
                else:
                    answer.set_result(told["result"])
            elif told["method"] == "Network.requestWillBeSent":
                self.requested.append(told["params"]["request"]["url"])
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(told["params"]["exceptionDetails"]["text"])
            elif told["method"] == "Log.entryAdded":
                entry = told["params"]["entry"]
                # Answers that are no pages have no icon; browsers ask for one all the same.
                asked = entry.get("url", "")
                if entry["level"] in ("warning", "error") and not asked.endswith("/favicon.ico"):
                    self.complaints.append(entry["text"])

    async def tell(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return await asyncio.wait_for(answer, PATIENCE)

    async def value(self, script: str) -> Any:
        """What the script comes to, as JSON has it."""
        answer = await self.tell("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, (script, answer)
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Waits until the script comes to something true, over whatever pages follow."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            # In the middle of going to another page there is nothing to ask.
            with contextlib.suppress(RuntimeError, AssertionError):
                if found := await self.value(script):
                    return found
            if asyncio.get_running_loop().time() > deadline:
                text = await self.value("document.body.innerText")
                raise AssertionError(f"in vain for {script}, on the page:\n{text}")
            await asyncio.sleep(0.02)

    async def shows(self, text: str) -> None:
        """Waits until the page shows the text, and its scripts have begun to listen."""
        shown = f"document.body.innerText.includes({json.dumps(text)})"
        await self.until(f"document.readyState === 'complete' && {shown}")

    async def text(self) -> str:
        shown: str = await self.value("document.body.innerText")
        return shown

    async def go(self, url: str) -> None:
        await self.tell("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def click(self, selector: str) -> None:
        """With the mouse, in the middle of the first such element."""
        box = await self.until(_WHERE % json.dumps(selector))
        for kind in ("mousePressed", "mouseReleased"):
            await self.tell(
                "Input.dispatchMouseEvent",
                **{"type": kind, "x": box[0], "y": box[1], "button": "left", "clickCount": 1},
            )

    async def write(self, text: str) -> None:
        """Into what has the focus."""
        await self.tell("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        text, code = _KEYS.get(key, (key, ord(key.upper()) if len(key) == 1 else 0))
        what = {"key": key, "text": text, "windowsVirtualKeyCode": code}
        await self.tell("Input.dispatchKeyEvent", type="keyDown", **what)
        await self.tell("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def look(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """The window's size, and whether its user likes it dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.tell("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.tell("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, file: Path, *, whole: bool = False) -> None:
        shot = await self.tell("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def browsing() -> AsyncIterator[Page]:
    """A Chromium of its own, without memory of any other."""
    program = chromium()
    assert program
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                *(program, "--headless=new", "--remote-debugging-port=0", "--no-first-run"),
                # Containers have neither the rights for a sandbox nor much shared memory.
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
                        await page.tell(f"{domain}.enable")
                    await page.look()
                    yield page
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        finally:
            process.terminate()
            process.wait(PATIENCE)


async def _address(profile: Path) -> str:
    """Where the first tab listens. Chromium writes its port once it is up."""
    import httpx

    note = profile / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE):
        while not (note.exists() and "\n" in note.read_text()):
            await asyncio.sleep(0.05)
        port = note.read_text().splitlines()[0]
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                tabs = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
                for tab in tabs:
                    if tab["type"] == "page":
                        address: str = tab["webSocketDebuggerUrl"]
                        return address
                await asyncio.sleep(0.05)

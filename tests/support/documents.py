"""README and docs: their text, and the commands and programs in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (
        *ROOT.glob("*.md"),
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "connectors/providers/README.md",
    )
}
README = PAGES["README.md"]
# The pages whose commands the tests run.
GUIDE = "\n".join(t for name, t in PAGES.items() if name.startswith(("README", "docs/")))


def blocks(language: str, text: str = GUIDE) -> list[str]:
    """The code blocks of `language`."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def section(page: str, heading: str) -> str:
    """The text below `heading` of `page`, to the next heading of the same level."""
    level = heading.partition(" ")[0]
    text = re.split(rf"^{re.escape(heading)}$", PAGES[page], maxsplit=1, flags=re.MULTILINE)[1]
    return re.split(rf"^{level} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the Markdown table rows in `text`, without backquotes; headers included."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip(" `") for cell in line.strip("| ").split(" | ")] for line in lines]


COMMANDS = [
    line.split("#")[0].strip()
    for block in blocks("sh")
    for line in block.splitlines()
    if line.strip()
]
# These call a receiver that is not ours; tests/streams/cli/test_send.py runs them.
(RECEIVER,) = (block.splitlines() for block in blocks("sh") if "--callbacks-to" in block)
# tests/e2e/test_pipeline.py runs these.
KCAT = [command for command in COMMANDS if command.startswith("kcat")]

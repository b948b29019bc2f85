"""Texts and names are plain English: subject, verb, object, in the terms of the field."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.documents import ROOT

# Constructions that readers must read twice. CONTRIBUTING.md, "How to write", has the rules.
WORDS = (
    "nobody",
    "somebody",
    "whoever",
    "anew",
    "of which",
    "one's own",
    "what is no",
    "what is none",
    "in vain",
    "(is|are|was|were) told",
)
# Words between two lines of a comment are separated by more than a space.
DIALECT = re.compile(rf"\b({'|'.join(WORDS)})\b".replace(" ", r"[\s#]+"), re.IGNORECASE)
# Names of data that are verbs or say nothing of the field.
VERBS = {"said", "told", "asked", "meant", "wanted", "deed", "desk", "errand"}
SUFFIXES = {".py", ".md", ".html", ".js", ".css", ".avsc", ".yml", ".toml", ".json"}
# A user of Unix, and callbacks as providers send them.
ALLOWED = {"tests/support/postgres.py: nobody"}
PAYLOADS = ROOT / "tests/golden"


def files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.suffix in SUFFIXES)
    yield from (ROOT / "Makefile", ROOT / "Dockerfile")
    for folder in ("connectors", "docs", "schemas", "streams", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in SUFFIXES and PAYLOADS not in path.parents and path != Path(__file__):
                yield path


def test_texts_are_plain_english() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {' '.join(match[0].split())}"
        for path in files()
        for match in DIALECT.finditer(path.read_text())
    }
    assert found - ALLOWED == set()


def test_names_are_nouns() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files()
        if path.suffix == ".py"
        for name in names(ast.parse(path.read_text()))
        if name.strip("_").lower() in VERBS
    }
    assert found == set()


def names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name

"""Files that name links: their forms, and what is refused."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.imports import file
from connectors.imports.file import BadFile
from connectors.providers.link_list import LinkIds
from connectors.providers.registry import PROVIDERS
from schemas import ids
from schemas.limits import IMPORT_LINKS

COLUMNS = PROVIDERS["peach"].LINK_COLUMNS


def read(text: str | bytes, account: str = "peach") -> LinkIds:
    body = text.encode() if isinstance(text, str) else text
    return file.read(body, account, COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "link_id\na\nb\n",
        "Link ID;Amount\na;1,00\nb;2,00\n",
        "\ufeffid,status\r\na,completed\r\nb,expired\r\n",
        "Id,Payment ID\nrow 1,a\nrow 2,b\n",
        "link_id\na\n\nb\na\n",
        '{"paymentId": "a", "status": "completed"}\n\n{"paymentId": "b", "amount": 1.5}\n',
        '\ufeff {"id": "row 1", "link_id": "a"}\n{"id": "b"}',
    ],
)
def test_file_names_links_in_several_forms(text: str) -> None:
    assert read(text) == LinkIds(("a", "b"))


def test_file_of_registrations_names_the_links_of_the_account() -> None:
    text = "provider,link_id,order_id\npeach,a,O1\nping,b,O2\npeach_ke,c,O3\n,d,\n"
    assert read(text).ids == ("a", "d")
    assert read(text, "peach_ke").ids == ("c", "d")


def test_row_without_an_id_is_refused_alone() -> None:
    text = 'link_id,note\na,1\n,2\n"new\nline",3\nb\nc,d,e\nf,6\n'
    assert read(text) == LinkIds(
        ("a", "f"),
        (
            "line 3: has no id of a link",
            "line 5: has no id of a link",
            "line 6: has fewer cells than there are columns: is it cut off?",
            "line 7: has more cells than there are columns",
        ),
    )
    text = '{"id": "a"}\n{"id": 7}\n[]\n{"id": \n{"id": "b"}\n'
    assert read(text) == LinkIds(
        ("a", "b"),
        ("line 2: has no id of a link", "line 3: is no JSON object", "line 4: is not JSON"),
    )


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "names no column link_id or paymentid or id, but none"),
        (b"name,amount\na,1\n", "names no column link_id or paymentid or id, but name, amount"),
        (b"link_id\n\xff\n", "not CSV in UTF-8"),
        (b'{"id": "\xff"}\n', "not UTF-8"),
        (b'link_id\n"a\n', "not CSV in UTF-8"),
    ],
)
def test_file_without_links_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(BadFile, match=problem):
        read(body)


def test_file_with_too_many_links_is_refused() -> None:
    lines = ["link_id", *(f"l{n}" for n in range(IMPORT_LINKS))]
    assert len(read("\n".join(lines)).ids) == IMPORT_LINKS
    with pytest.raises(BadFile, match="more than 100,000 links: divide it"):
        read("\n".join([*lines, "another"]))


def test_same_content_is_the_same_window() -> None:
    assert file.window_of(b"a") == file.window_of(b"a") != file.window_of(b"b")
    assert ids.is_identifier(file.window_of(b"a"))


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=8))
def test_each_id_of_a_file_is_read_or_refused(texts: list[str]) -> None:
    written = io.StringIO(newline="")
    rows = csv.writer(written)
    rows.writerow(("link_id", "n"))
    rows.writerows((text, "1") for text in texts)
    good = dict.fromkeys(text.strip() for text in texts if ids.is_identifier(text.strip()))
    from_csv = read(written.getvalue())
    from_json = read("\n".join(json.dumps({"link_id": text}) for text in texts) or "{}")
    assert from_csv.ids == tuple(good) == from_json.ids
    refused = sum(not ids.is_identifier(text.strip()) for text in texts)
    assert len(from_csv.refused) == refused

"""Reads the client manager's pages as a browser does: what a form holds, what can be copied."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

from werkzeug.test import TestResponse

from tests.world import Browser

CLIENTS = "/settings/app/api-clients"


def manage_page(client_pk: int) -> str:
    return f"{CLIENTS}/{client_pk}"


class _FormReader(HTMLParser):
    """The fields of the page's own form: the one that is sent back to the page's address."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._inside = False
        self._textarea: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form":
            self._inside = values.get("method") == "post" and "action" not in values
        if not self._inside:
            return
        name = values.get("name")
        if tag == "input" and name:
            chosen = values.get("type") not in {"radio", "checkbox"} or "checked" in values
            if chosen:
                self.fields[name] = values.get("value") or ""
        if tag == "textarea" and name:
            self._textarea = name
            self.fields[name] = ""

    def handle_data(self, data: str) -> None:
        if self._textarea is not None:
            self.fields[self._textarea] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._textarea is not None:
            # Browsers drop the line break that follows the tag.
            text = self.fields[self._textarea]
            self.fields[self._textarea] = text.removeprefix("\r").removeprefix("\n")
            self._textarea = None
        if tag == "form":
            self._inside = False


def form_of(page: TestResponse) -> dict[str, str]:
    """What the page's form would send, untouched."""
    reader = _FormReader()
    reader.feed(page.text)
    assert reader.fields, page.text
    return reader.fields


def submit(browser: Browser, path: str, **typed: str) -> TestResponse:
    """Open the page at ``path``, type into its form and send it."""
    return send(browser, path, browser.get(path), **typed)


def send(browser: Browser, path: str, page: TestResponse, **typed: str) -> TestResponse:
    """Type into the form of ``page`` and send it."""
    return browser.post(path, {**form_of(page), **typed})


def copyable(page: TestResponse) -> list[str]:
    """Everything on the page that has a copy button, in order, save for files."""
    return _values(_FILE.sub("", page.text))


def files_of(page: TestResponse) -> dict[str, str]:
    """The files that the page offers, by what they are called."""
    names = re.findall(r'data-download="([^"]+)"', page.text)
    return dict(zip(names, _values("".join(_FILE.findall(page.text))), strict=True))


_FILE = re.compile(r'<details class="file">.*?</details>', re.DOTALL)


def _values(text: str) -> list[str]:
    return [html.unescape(value) for value in re.findall(r"<code[^>]*data-value>(.*?)</code>", text, re.DOTALL)]


def words_of(page: TestResponse) -> str:
    """What a person reads, without tags, on one line."""
    body = page.text.split("<main", 1)[-1].partition(">")[2]
    apart = re.sub(r"</?(?:d[dlt]|div|li|p|t[dhr]|h\d|br|option|label|summary)\b[^>]*>", " ", body)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", apart)).split())


def pk_of(page: TestResponse) -> int:
    """The client that a page of the client manager is about."""
    found = re.search(rf"{CLIENTS}/(\d+)", page.text)
    assert found, page.text
    return int(found.group(1))

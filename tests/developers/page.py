"""Reads the developers' page as a reader copies from it: by its elements."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

PAGE = "/developers"


@dataclass
class Copied:
    """A piece of code: what the page calls it, in which language, and its text."""

    ref: str
    language: str
    text: str = ""


class PageReader(HTMLParser):
    """``snippets`` by their names, ``ids`` of all elements, ``errors`` of the table, ``links``."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.snippets: dict[str, Copied] = {}
        self.ids: list[str] = []
        self.errors: list[str] = []
        self.links: list[str] = []
        self.options: list[str] = []
        self._snippet: Copied | None = None
        self._copies = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        if "data-snippet" in values:
            self._snippet = Copied(values["data-snippet"], values["data-language"])
            assert self._snippet.ref not in self.snippets
            self.snippets[self._snippet.ref] = self._snippet
        if "data-error" in values:
            self.errors.append(values["id"])
        if tag == "option":
            self.options.append(values["value"])
        if tag == "a":
            self.links.append(values.get("href", ""))
        self._copies = tag == "code" and "data-value" in values and self._snippet is not None

    def handle_data(self, data):
        if self._copies:
            self._snippet.text += data

    def handle_endtag(self, tag):
        if tag == "code" and self._copies:
            self._copies, self._snippet = False, None

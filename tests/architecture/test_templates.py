"""What every template and static file promises: the Content-Security-Policy, the words, the weight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent.parent / "app"
TEMPLATES = sorted(APP.rglob("templates/**/*.html"))
STATIC = APP / "static"

#: Words that the pages do not use: they blame, plead or boast.
BANNED_WORDS = re.compile(r"\b(oops|please|invalid|successfully)\b", re.IGNORECASE)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "template" in metafunc.fixturenames:
        metafunc.parametrize(
            "template", [pytest.param(path.read_text(), id=str(path.relative_to(APP))) for path in TEMPLATES]
        )


def test_there_are_templates_to_check():
    assert {"frame.html", "forms.html", "sign_in.html", "authorize.html"} <= {path.name for path in TEMPLATES}


def test_a_template_has_no_style_or_script_inside(template):
    # The policy is style-src 'self' and script-src 'self': a browser would drop these.
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", template, re.IGNORECASE)
    assert all("src=" in tag for tag in re.findall(r"<script\b[^>]*>", template))


def test_a_template_loads_nothing_from_elsewhere(template):
    without_svg = re.sub(r"<svg.*?</svg>", "", template, flags=re.DOTALL)

    assert not re.search(r"(?:src|href|action)=[\"'](?:https?:)?//", without_svg)


def test_a_template_never_turns_escaping_off(template):
    assert not re.search(r"\|\s*safe\b|autoescape", template)


def test_a_template_speaks_plainly(template):
    # aria-invalid is an attribute's name, not a word for people.
    assert not BANNED_WORDS.search(re.sub(r"aria[-_]invalid", "", template))


def test_a_form_that_changes_something_carries_the_csrf_token(template):
    for form in re.findall(r"<form\b.*?</form>", template, re.DOTALL):
        if 'method="post"' in form:
            assert re.search(r"csrf_token|hidden_tag\(\)|csrf\(\)", form)


def test_the_stylesheet_stays_small():
    assert (STATIC / "keyporter.css").stat().st_size < 16_000


def test_the_script_stays_small():
    assert (STATIC / "keyporter.js").stat().st_size < 8_000

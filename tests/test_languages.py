"""In which language whom is answered, and whether the catalogues have all that the sources say."""

from __future__ import annotations

import ast
import io
import re
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2 import Environment

from app import languages
from app.languages import DEFAULT, LANGUAGES
from tests.world import authorize_address

APP = Path(__file__).parents[1] / "app"
TRANSLATED = sorted(LANGUAGES.keys() - {DEFAULT})

#: As `make messages` has them.
KEYWORDS = {"_": None, "_l": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}

PLACEHOLDER = re.compile(r"%\([a-z_]+\)[sd]|%.")

#: pages.md says what to write instead: what happened, and what to do.
FORBIDDEN = re.compile(r"\b(invalid|please|oops|successfully)\b", re.IGNORECASE)

#: With what the label of a button may begin.
VERBS = {
    "Add", "Allow", "Back", "Cancel", "Change", "Connect", "Continue", "Copy", "Create", "Delete", "Download", "End",
    "Fill", "Generate", "Go", "Invite", "Keep", "Leave", "Make", "Open", "Remove", "Revoke", "Save", "Search", "See",
    "Send", "Set", "Show", "Sign", "Skip", "Start", "Turn", "Use",
}  # fmt: skip

#: What says where a link leads or what it is about, as people know it from elsewhere.
NO_VERB = {"Next", "Previous", "First page", "New random", "Not you?"}

#: Names of things, which are the same everywhere, and of classes of our style sheet.
NAMES = {
    "curl",
    "Python",
    "JavaScript",
    "Power Query M",
    "Power BI",
    "CSV",
    "JSON",
    "PowerShell",
    "C#",
    "narrow",
    "UTC",
}

#: What takes a text for people as an argument.
SPEAKERS = {
    "flash", "ValidationError", "InputRequired", "DataRequired", "Email", "AnyOf", "SelectChoice",
    "StringField", "TextAreaField", "PasswordField", "BooleanField", "RadioField", "SelectField", "SubmitField",
    "DateField", "EmailField", "SearchField", "SelectMultipleField", "Written",
}  # fmt: skip


@cache
def sources():
    """Every text of the sources that goes through gettext; one with a plural is a pair."""
    with (APP.parent / "babel.cfg").open(encoding="utf-8") as mapping:
        methods, options = parse_mapping_cfg(mapping)
    return {message for _, _, message, *_ in extract_from_dir(APP, methods, options, keywords=KEYWORDS)}


@cache
def catalogue(language) -> Catalog:
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def path_of(language) -> Path:
    return APP / "translations" / language / "LC_MESSAGES" / "messages.po"


def entries(language):
    return [message for message in catalogue(language) if message.id]


def language_of(response):
    return re.search(r'<html lang="([a-z-]+)" dir="ltr">', response.text)[1]


class TestChoice:
    @pytest.fixture(autouse=True)
    def engine(self):
        return "sqlite"

    @pytest.fixture
    def german(self):
        return {"headers": {"Accept-Language": "de-CH, de;q=0.9, en;q=0.5"}}

    def test_english_is_for_whoever_says_nothing(self, browser):
        assert language_of(browser.get("/login")) == "en"

    def test_a_browser_says_what_its_person_prefers(self, browser, german):
        page = browser.get("/login", **german)

        assert language_of(page) == "de"
        assert "<h1>Bei Acme anmelden</h1>" in page.text

    def test_a_language_that_we_do_not_have_is_passed_over(self, browser):
        assert language_of(browser.get("/login", headers={"Accept-Language": "fr, es;q=0.5"})) == "es"
        assert language_of(browser.get("/login", headers={"Accept-Language": "fr"})) == "en"

    def test_an_app_says_it_better(self, browser, german):
        assert language_of(browser.get("/login?ui_locales=fr+es-MX+de", **german)) == "es"
        assert language_of(browser.get("/login?ui_locales=fr", **german)) == "de"

    def test_an_app_says_it_to_the_sign_in_page_too(self, browser, world, tenant, german):
        app = world.oauth_app(tenant)
        answer = browser.get(authorize_address(app, ui_locales="es"), **german)
        assert answer.status_code == 303

        page = browser.get(answer.headers["Location"], **german)

        assert language_of(page) == "es"

    @pytest.mark.parametrize("strange", ["//[", "/?ui_locales", "/?ui_locales=%FF", "/?ui_locales=" + "x+" * 5000])
    def test_a_strange_address_to_go_on_at_says_nothing(self, browser, german, strange):
        page = browser.get("/login", query_string={"next": strange}, **german)

        assert language_of(page) == "de"

    def test_what_a_person_chose_comes_first(self, browser, german):
        browser.get("/login")
        browser.post("/language", {"language": "es"})

        assert language_of(browser.get("/login?ui_locales=de", **german)) == "es"

    def test_programs_read_english(self, machine, browser, german):
        browser.get("/login")
        browser.post("/language", {"language": "es"})
        form = {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "x" * 40}
        refused = browser.client.post("/oauth2/token", base_url=browser.tenant.url, data=form, **german)

        plain = machine.post_token(form)
        assert (refused.status_code, refused.json) == (plain.status_code, plain.json)
        assert plain.json["error"] == "invalid_client"
        missing = machine.open("/.well-known/nothing", **german)
        assert missing.json["error_description"] == "There is no such address."

    @pytest.mark.parametrize(
        "path, language",
        [
            ("/oauth2/token", "en"),
            ("/.well-known/oauth-authorization-server", "en"),
            ("/openapi.json", "en"),
            ("/readyz", "en"),
            ("/oauth2/authorize", "de"),
            ("/login", "de"),
        ],
    )
    def test_what_a_program_is_told_of_a_failure_is_english(self, app, german, path, language):
        with app.test_request_context(path + "?ui_locales=de", **german):
            assert languages.choose() == language

    def test_a_page_that_is_not_there_is_so_in_the_readers_language(self, browser, german):
        page = browser.get("/nothing", **german)

        assert page.status_code == 404
        assert "Wir können das nicht finden" in page.text


class TestCatalogues:
    @pytest.mark.parametrize("language", TRANSLATED)
    def test_every_text_of_the_sources_is_there_and_no_other(self, language):
        assert {message.id for message in entries(language)} == sources(), "run `make messages`"

    @pytest.mark.parametrize("language", TRANSLATED)
    def test_every_text_is_translated(self, language):
        for message in entries(language):
            strings = message.string if message.pluralizable else [message.string]
            assert all(strings), message.id
            assert not message.fuzzy, message.id
            assert not message.pluralizable or len(strings) == catalogue(language).num_plurals, message.id
        assert not catalogue(language).obsolete

    @pytest.mark.parametrize("language", TRANSLATED)
    def test_a_translation_holds_the_same_values(self, language):
        for message in entries(language):
            texts = message.id if message.pluralizable else [message.id]
            expected = {value for text in texts for value in PLACEHOLDER.findall(text)}
            for string in message.string if message.pluralizable else [message.string]:
                assert set(PLACEHOLDER.findall(string)) == expected, message.id
                # Markup and what stands around a text are the page's own.
                assert string.strip() == string, message.id
                assert ("<" in string) == any("<" in text for text in texts), message.id

    @pytest.mark.parametrize("language", TRANSLATED)
    def test_what_is_loaded_is_what_was_translated(self, language):
        compiled = io.BytesIO()
        write_mo(compiled, catalogue(language))

        assert path_of(language).with_suffix(".mo").read_bytes() == compiled.getvalue(), "run `make messages`"

    def test_there_is_a_catalogue_for_each_language(self):
        assert sorted(path.name for path in (APP / "translations").iterdir()) == TRANSLATED

    @pytest.mark.parametrize("language", TRANSLATED)
    def test_line_numbers_are_in_no_diff(self, language):
        assert not re.search(r"^#:", path_of(language).read_text(encoding="utf-8"), re.MULTILINE)


class TestWords:
    def test_no_text_scolds_begs_or_cheers(self):
        texts = {text for message in sources() for text in (message if isinstance(message, tuple) else [message])}

        assert [text for text in texts if FORBIDDEN.search(text)] == []

    @pytest.mark.parametrize("path", sorted((APP / "templates").rglob("*.html")), ids=lambda path: path.stem)
    def test_a_template_says_nothing_past_gettext(self, path):
        kept = "".join(
            value if kind == "data" else "\0"
            for _, kind, value in Environment(autoescape=True).lexer.tokeniter(
                path.read_text(encoding="utf-8"), str(path)
            )
            if kind in {"data", "variable_begin", "block_begin"}
        )
        kept = re.sub(r"<(code|pre)\b.*?</\1>", "", kept, flags=re.DOTALL)
        read_out = re.findall(r'\b(?:aria-label|title|alt|placeholder)="([^"\0]+)', kept)
        texts = re.sub(r"<!doctype[^>]*>|</?[a-z][^>]*>|&[a-z]+;", "\0", kept, flags=re.DOTALL).split("\0")

        assert [text for text in read_out + texts if re.search("[A-Za-z]{2}", text) and text.strip() not in NAMES] == []

    def test_no_module_says_anything_past_gettext(self):
        said = []
        for path in APP.rglob("*.py"):
            if "demo" in path.parts:  # a sample app of somebody else
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in SPEAKERS:
                    spoken = [
                        *node.args,
                        *(word.value for word in node.keywords if word.arg in {"label", "description"}),
                    ]
                    said += [f"{path}:{text.lineno}: {ast.unparse(text)}" for text in spoken if is_text(text)]
        assert said == []

    def test_a_button_says_what_it_does(self):
        labels = [
            label
            for path in (APP / "templates").rglob("*.html")
            for label in re.findall(
                r'(?:\bbutton|danger_button|button_link)\(_\("([^"]+)"|<button[^>]*>\{\{ _\("([^"]+)"',
                path.read_text(encoding="utf-8"),
            )
        ]
        words = {next(filter(None, label)) for label in labels}

        assert len(words) > 20
        assert [text for text in words if text not in NO_VERB and text.split()[0] not in VERBS] == []


def is_text(node):
    """True for words in quotation marks; names of fields, codes and the like have no capital and no space."""
    if isinstance(node, ast.JoinedStr):
        return False
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(re.search("[A-Z]| ", node.value))

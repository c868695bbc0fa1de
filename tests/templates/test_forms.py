"""The building blocks of every form: labels, hints and errors that belong to their field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask, render_template_string
from markupsafe import Markup
from wtforms import BooleanField, Form, HiddenField, PasswordField, RadioField, SelectChoice, StringField  # type: ignore[attr-defined]
from wtforms.validators import InputRequired

from app import languages

APP = Path(__file__).parent.parent.parent / "app"


class ClientForm(Form):
    name = StringField("Name", description="You and your team see this.", validators=[InputRequired("Enter a name.")])
    contact = StringField("Who looks after it?")
    secret = PasswordField("Secret", validators=[InputRequired("Enter a secret.")])
    lasts = RadioField(
        "Lasts",
        choices=[SelectChoice("365", "1 year"), SelectChoice("30", "30 days")],
        validators=[InputRequired("Choose one.")],
    )
    leak = BooleanField("Also revoke all tokens")
    version = HiddenField(validators=[InputRequired("Bo Lind changed this 1 minute ago.")])


@pytest.fixture
def render():
    app = Flask("forms", template_folder=str(APP / "templates"))
    languages.init_app(app)
    app.jinja_env.globals["csrf_token"] = lambda: "the-csrf-token"

    def rendered(template: str, **values: object) -> str:
        with app.test_request_context():
            return render_template_string('{% import "forms.html" as forms %}' + template, **values)

    return rendered


@pytest.fixture
def wrong_form() -> ClientForm:
    form = ClientForm(data={"name": "", "lasts": "9"})
    assert not form.validate()
    return form


def attributes_of(html: str, tag: str) -> dict[str, str]:
    found = re.search(rf"<{tag}\b([^>]*)>", html)
    assert found, html
    return dict(re.findall(r'([\w-]+)="([^"]*)"', found[1]))


def test_a_field_has_its_label_and_hint(render):
    html = render("{{ forms.field(form.name) }}", form=ClientForm())

    assert '<label for="name">Name</label>' in html
    assert attributes_of(html, "input")["aria-describedby"] == "name-hint"
    assert re.search(r'id="name-hint">You and your team see this\.<', html)


def test_a_field_without_a_hint_is_described_by_nothing(render):
    for name in ("contact", "leak"):
        html = render("{{ forms.field(form[name]) }}", form=ClientForm(), name=name)

        assert "aria-describedby" not in html
        assert "aria-invalid" not in html


def test_a_wrong_field_says_so_to_everybody(render, wrong_form):
    html = render("{{ forms.field(form.name) }}", form=wrong_form)

    assert attributes_of(html, "input")["aria-invalid"] == "true"
    assert attributes_of(html, "input")["aria-describedby"] == "name-hint name-error"
    assert re.search(r'id="name-error">.*Enter a name\.', html, re.DOTALL)


def test_a_field_takes_further_attributes(render):
    html = render('{{ forms.field(form.contact, autocomplete="off", class_="mono") }}', form=ClientForm())

    assert attributes_of(html, "input") | {"autocomplete": "off", "class": "mono"} == attributes_of(html, "input")


def test_choices_are_a_group_with_a_name(render, wrong_form):
    html = render('{{ forms.radio_group(form.lasts, hints={"30": "For a trial."}) }}', form=wrong_form)

    assert "<legend>Lasts</legend>" in html
    assert attributes_of(html, "fieldset")["aria-describedby"] == "lasts-error"
    assert html.count('type="radio"') == 2
    assert html.count("aria-describedby") == 2
    assert 'aria-describedby="lasts-1-hint"' in html


def test_the_summary_leads_to_every_wrong_field(render, wrong_form):
    html = render("{{ forms.error_summary(form) }}", form=wrong_form)

    assert attributes_of(html, "div")["role"] == "alert"
    assert attributes_of(html, "div")["tabindex"] == "-1"
    links = dict(re.findall(r'<a href="#([^"]*)">([^<]*)</a>', html))
    assert links.pop("lasts-0")  # a group has no field of its own name
    assert links == {"name": "Enter a name.", "secret": "Enter a secret."}
    assert "<li>Bo Lind changed this 1 minute ago.</li>" in html


def test_there_is_no_summary_without_an_error(render):
    assert render("{{ forms.error_summary(form) }}", form=ClientForm()) == ""


def test_one_message_is_said_without_ado(render):
    html = render("{{ forms.error_summary(form, 'Email or password is wrong.') }}", form=ClientForm())

    assert attributes_of(html, "div")["role"] == "alert"
    assert "Email or password is wrong." in html
    assert "There is a problem" not in html


def test_what_people_typed_is_escaped_everywhere(render):
    evil = "<script>alert(1)</script>"
    html = render(
        "{{ forms.copyable(evil, evil) }}{{ forms.code_block(evil, evil) }}{{ forms.status(evil) }}"
        "{{ forms.notice(evil) }}{{ forms.breadcrumb([(evil, evil), (evil, none)]) }}"
        "{{ forms.button(evil, 'danger', evil, evil) }}{{ forms.button_link(evil, evil) }}"
        "{{ forms.cancel_link(evil, evil) }}{{ forms.post_button(evil, evil, 'plain', evil) }}"
        "{{ forms.error_summary(none, evil) }}"
        "{% call forms.table(evil, [evil]) %}{% call forms.row() %}{% call forms.cell(evil) %}{{ evil }}"
        "{% endcall %}{% endcall %}{% endcall %}",
        evil=evil,
    )

    assert html.count(str(Markup.escape(evil))) >= 20
    assert "<script" not in html


def test_a_button_in_a_form_of_its_own_carries_the_csrf_token(render):
    html = render("{{ forms.post_button('Revoke', '/x', about='Finance report') }}")

    assert attributes_of(html, "form") | {"method": "post", "action": "/x"} == attributes_of(html, "form")
    assert 'value="the-csrf-token"' in html
    assert "Finance report" in html


def test_enter_can_be_kept_from_pressing_a_danger_button(render):
    # HTML: the first submit button is the one that Enter presses, and a disabled one does nothing.
    html = render("<form>{{ forms.enter_does_nothing() }}{{ forms.danger_button('Delete client') }}</form>")

    first, second = re.findall(r"<button[^>]*>", html)
    assert "disabled" in first
    assert "danger" in second


def test_a_cell_knows_its_heading_for_when_the_table_becomes_cards(render):
    html = render(
        "{% call forms.table('Tokens', ['Name', '']) %}{% call forms.row() %}"
        "{% call forms.row_heading('Name') %}a{% endcall %}{% call forms.cell() %}b{% endcall %}"
        "{% endcall %}{% endcall %}"
    )

    assert "<caption>Tokens</caption>" in html
    assert html.count('scope="col"') == 2
    assert '<th scope="row" role="rowheader" data-label="Name">a</th>' in html
    assert '<td role="cell">b</td>' in html
